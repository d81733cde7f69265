#!/bin/busybox sh
# The first process of the emulated machine: load the modules, lay a writable layer over the host's files, run the job.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs dev /dev

stop() {
    echo "MACHINE: $1"
    $bb poweroff -f
}

while read -r module; do
    $bb insmod "/mods/$module" || stop "module $module cannot be loaded"
done </mods/order

$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /lower || stop "the host's files cannot be mounted"
$bb mount -t tmpfs -o size=512m layer /upper || stop "no memory for the writable layer"
$bb mkdir /upper/files /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /top || stop "the layers cannot be joined"
for folder in proc sys dev; do
    $bb mount --move /$folder /top/$folder
done
$bb mount -t tmpfs run /top/run
# Nothing is laid over the folder for temporary files: the checkout may stand in it, and the layer takes what is written.
$bb mkdir -p /top/dev/pts /top/dev/shm
$bb mount -t devpts pts /top/dev/pts
$bb mount -t tmpfs shm /top/dev/shm
$bb ip link set lo up
$bb hostname itb-bluez

echo "MACHINE: up after $($bb cut -d ' ' -f 1 /top/proc/uptime) s"
$bb cp /job /top/run/job
$bb chroot /top /bin/sh /run/job
echo "MACHINE: the job ended with status $?"
$bb poweroff -f
