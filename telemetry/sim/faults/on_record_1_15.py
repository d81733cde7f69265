"""F1 to F15 of domain.md 4: rotor, battery, catheter, tablet, firmware; the first of the scanner."""

from __future__ import annotations

from telemetry.model import AlarmKind
from telemetry.sim.faults.entry import (
    ONLY,
    PPM,
    ROTOR,
    Fault,
    Parameter,
    Target,
    amount,
    modes,
    share,
    span,
)
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

FAULTS: tuple[Fault, ...] = (
    Fault(
        "F1",
        "motor_stall",
        Target.ROTOR,
        modes(
            shaft_wear="the shaft is worn", gear_corrosion="the drive gear is corroded", particle="a particle blocks it"
        ),
        "The rotor stops for good; what the pump commands is not delivered.",
        "The book goes on as commanded; after the detection latency a critical alarm and a stall in the log, "
        "never a recovery.",
        "domain.md 4 F1, 2.6",
        "A",
        alarms=(AlarmKind.MOTOR_STALL,),
    ),
    Fault(
        "F2",
        "intermittent_stall",
        Target.ROTOR,
        modes(
            corrosion="gears bind and come free", feedthrough="a short in the feedthrough stops the motor now and then"
        ),
        "The rotor stops for minutes to hours and comes free again, over and over.",
        "Stall and recovery pairs multiply in the log; each stall longer than the detection latency sounds a "
        "critical alarm.",
        "domain.md 4 F2, 2.6 (precursor pattern)",
        "A",
        (span("lasts_ms", 2 * MS_PER_HOUR, "how long one stall lasts", "domain.md 4 F2: minutes to hours"),),
        alarms=(AlarmKind.MOTOR_STALL,),
    ),
    Fault(
        "F3",
        "feedthrough_short",
        Target.BATTERY,
        modes(
            reset="the pump resets and goes on with its program",
            safe_state="the pump resets and falls into its safe state",
        ),
        "A short in the feedthrough pulls the battery down: the pump resets, and charge is lost.",
        "A critical low-battery-reset alarm; in its second form the safe state too; elective replacement comes early.",
        "domain.md 4 F3, 2.5",
        "A",
        (share("charge_lost_ppm", 20_000, "charge lost at each reset, of the capacity", "domain.md 4 F3: early ERI"),),
        alarms=(AlarmKind.LOW_BATTERY_RESET,),
        once=True,
    ),
    Fault(
        "F4",
        "battery_film",
        Target.BATTERY,
        modes(
            early_replacement="part of the charge cannot be had: ERI and end of service come early",
            brown_out="the voltage gives way under the load of a stroke or a tone: the pump resets",
            sudden_end="the battery gives out at once",
        ),
        "A resistive film grows in the battery: it gives less charge and less voltage under load.",
        "Elective replacement too early, and end of service less than 90 days later; or a low-battery reset; "
        "or a sudden end of service.",
        "domain.md 4 F4, 2.4",
        "B",
        (
            share(
                "capacity_lost_ppm", 300_000, "part of the capacity that cannot be had", "domain.md 4 F4 gives no size"
            ),
            Parameter(
                "film_mohm",
                200_000,
                1,
                100_000_000,
                "resistance of the film",
                "domain.md 2.4: resistive film; size is ours",
            ),
        ),
        alarms=(AlarmKind.ELECTIVE_REPLACEMENT, AlarmKind.END_OF_SERVICE, AlarmKind.LOW_BATTERY_RESET),
        stays=True,
    ),
    Fault(
        "F5",
        "over_infusion",
        Target.ROTOR,
        modes(constant="the rate is too high from now on", jump="the rate jumps up, later once more as much"),
        "The pump delivers more than commanded.",
        "No alarm; the calculated volume goes on as commanded, and the pump runs dry before any low-reservoir"
        " alarm. Less comes out at the refill.",
        "domain.md 4 F5, 2.9",
        "A",
        (
            share("error_ppm", 200_000, "how much too fast", "domain.md 4 F5: more than 14.5 %", least=1, most=PPM),
            span(
                "jumps_after_ms", 30 * MS_PER_DAY, "mode jump: when the second jump comes", "domain.md 4 F5: may jump"
            ),
        ),
    ),
    Fault(
        "F6",
        "under_infusion",
        Target.CATHETER,
        modes(partial="part of each stroke does not get through", full="nothing gets through"),
        "An occlusion: part of the drug stays in the reservoir.",
        "No alarm (there is no pressure sensor); more than expected comes out at the refill; withdrawal.",
        "domain.md 4 F6, 2.7",
        "C",
        (
            share(
                "passes_ppm",
                500_000,
                "mode partial: what still gets through",
                "domain.md 2.7: factor 0 to 1",
                most=PPM - 1,
            ),
        ),
    ),
    Fault(
        "F7",
        "catheter_failure",
        Target.CATHETER,
        modes(
            disconnected="off the pump: all drug goes into the pocket",
            leaking="a hole: part of the drug is lost on the way",
            kinked="a kink: nothing gets through",
            positional="a kink that comes and goes with the posture",
            tip_displaced="the tip is out of place: what leaves it does not reach the fluid around the cord",
        ),
        "The catheter loses drug or lets none through.",
        "No alarm. Disconnected, leaking, displaced: the residual at the refill is normal. Kinked: more than "
        "expected comes out.",
        "domain.md 4 F7, 2.7",
        "A",
        (
            share("lost_ppm", 500_000, "mode leaking: the part that is lost", "domain.md 2.7: a fraction", least=1),
            span(
                "period_ms",
                MS_PER_DAY,
                "mode positional: how often the posture repeats",
                "domain.md 2.7 gives no number",
            ),
            span(
                "kinked_ms",
                8 * MS_PER_HOUR,
                "mode positional: kinked so long in each period",
                "domain.md 2.7 gives no number",
            ),
        ),
    ),
    Fault(
        "F8",
        "wrong_tubing_volume",
        Target.TABLET,
        ONLY,
        "The pump is told a tubing volume that is not its own: a prime computed from it over-delivers.",
        "No alarm; the prime ends with drug out of the tip: 118 µg too much at 2000 µg/ml.",
        "domain.md 4 F8, 2.7",
        "A",
        (amount("told_nl", 199_000, "the tubing volume that the pump is told", "domain.md 2.7: 0.199 ml before 2017"),),
    ),
    Fault(
        "F9",
        "bridge_omitted",
        Target.TABLET,
        modes(
            omitted="the next concentration change has no bridge",
            wrong_concentration="the next bridge is worked out with a wrong old concentration",
        ),
        "The new rate runs while the old drug is still in the path.",
        "No alarm; the dose is wrong by old over new concentration until the path is empty of old drug. A bridge of "
        "another drug than the path holds is refused (bridge_mismatch).",
        "domain.md 4 F9, 2.7",
        "calc",
        (
            Parameter(
                "believed_ng_per_ml",
                1_000_000,
                1,
                (1 << 32) - 1,
                "mode wrong_concentration: what is taken for the old drug",
                "domain.md 3.1: 1000 µg/ml is in use",
            ),
        ),
        acts_on_next="refill",
    ),
    Fault(
        "F10",
        "wrong_concentration",
        Target.NEEDLE,
        ONLY,
        "The syringe holds another concentration than the pump is told.",
        "No alarm; the true dose is the programmed one times true over told, until the next refill.",
        "domain.md 4 F10",
        "A",
        (
            Parameter(
                "true_ng_per_ml",
                500_000,
                1,
                (1 << 32) - 1,
                "what the syringe really holds",
                "domain.md 4 F10: 2000 for 500",
            ),
        ),
        acts_on_next="fill",
    ),
    Fault(
        "F11",
        "unit_mix_up",
        Target.TABLET,
        modes(
            minutes_for_hours="the interval of a periodic bolus is typed into the box of the minutes",
            hour_for_day="a dose per day is taken for a dose per hour",
        ),
        "A number is right and its unit is wrong: 60 times too often, or 24 times too much.",
        "The pump refuses: with hard limits, or warns of the change. With its limits set wide, no alarm.",
        "domain.md 4 F11, 0 (7)",
        "A",
        acts_on_next="program",
    ),
    Fault(
        "F12",
        "incomplete_programming",
        Target.FIRMWARE,
        ONLY,
        "A pump of the old kind stops while it is being programmed; an update that is abandoned leaves it stopped.",
        "Stopped, with the stopped-therapy alarm, until somebody programs or resumes it.",
        "domain.md 4 F12, 0 (3)",
        "A",
        alarms=(AlarmKind.THERAPY_STOPPED,),
    ),
    Fault(
        "F13",
        "wrong_replace_by",
        Target.FIRMWARE,
        modes(invalid="the date is no date", too_late="the date lies more than 90 days after ERI"),
        "The replace-by date that the pump tells is wrong.",
        "No alarm; a programmer that checks the date against ERI finds it out.",
        "domain.md 4 F13",
        "A",
    ),
    Fault(
        "F14",
        "update_blocked",
        Target.MEMORY,
        ONLY,
        "A stored error code: the pump can be read and goes on delivering, and refuses every update.",
        "Every change is refused (stored_error) until the memory is reset.",
        "domain.md 4 F14, 2.5",
        "A",
    ),
    Fault(
        "F15",
        "mri_stall",
        Target.ENVIRONMENT,
        ONLY,
        "The field of an MRI scanner holds the rotor; afterwards it comes free, normally soon, sometimes after hours.",
        "No delivery meanwhile. Stall alarm after the detection latency; the recovery may show only at the "
        "second interrogation.",
        "domain.md 4 F15, 2.6",
        "A",
        (
            span("lasts_ms", 30 * MS_PER_MINUTE, "how long the scan takes", "domain.md 2.6 gives no length"),
            span(
                "binds_ms",
                15 * MS_PER_MINUTE,
                "how long the gears bind after it",
                "domain.md 2.6: 15 min; 2–24 h reported",
                least=0,
            ),
        ),
        alarms=(AlarmKind.MOTOR_STALL,),
        drives=ROTOR,
    ),
)
