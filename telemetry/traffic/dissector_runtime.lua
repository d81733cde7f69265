-- Behind the tables: how they are used. Nothing below knows a message or a field by name but the few that carry images.

local proto = Proto("itp", "Intrathecal Telemetry Protocol, version 1")
local stream_proto = Proto("itp_stream", "ITP/1 on a byte stream")

-- Bit operations: a library in Lua 5.1 and 5.2, operators from 5.3 on.
local bxor, band, rshift
if bit32 then
  bxor, band, rshift = bit32.bxor, bit32.band, bit32.rshift
else
  local native = load("return function(a, b) return a ~ b end, function(a, b) return a & b end, "
    .. "function(a, n) return a >> n end")
  if native then
    bxor, band, rshift = native()
  else
    local function unsigned(f)
      return function(a, b) local v = f(a, b) return v < 0 and v + 4294967296 or v end
    end
    bxor, band, rshift = unsigned(bit.bxor), unsigned(bit.band), unsigned(bit.rshift)
  end
end

-- Fields -----------------------------------------------------------------------------------------------------------------

local F, EXPERT, ALL_FIELDS = {}, {}, {}

local function register(key, made)
  F[key] = made
  table.insert(ALL_FIELDS, made)
end

local INTEGERS = {
  [1] = ProtoField.uint8, [2] = ProtoField.uint16, [3] = ProtoField.uint24, [4] = ProtoField.uint32,
  [8] = ProtoField.uint64,
}

local function value_strings(codes)
  local found = {}
  for code, name in pairs(codes) do found[code] = name end
  return found
end

local function register_layout(prefix, fields)
  for _, field in ipairs(fields) do
    local key = prefix .. "." .. field.name
    local abbr, about = "itp." .. key, field.unit
    if field.kind == "uint" and field.bias then
      register(key, ProtoField.int32(abbr, field.name, base.DEC, nil, nil, about))
    elseif field.kind == "uint" then
      register(key, INTEGERS[field.size](abbr, field.name, base.DEC, nil, nil, about))
      if field.none then register(key .. ".none", ProtoField.none(abbr .. ".none", field.name .. ": none", about)) end
    elseif field.kind == "bool" then
      register(key, ProtoField.bool(abbr, field.name))
    elseif field.kind == "code" then
      register(key, INTEGERS[field.size](abbr, field.name, base.HEX, value_strings(CODES[field.table])))
    elseif field.kind == "bitmap" then
      register(key, ProtoField.uint32(abbr, field.name, base.HEX))
      for _, one in ipairs(BITMAPS[field.table]) do
        register(key .. "." .. one.name, ProtoField.bool(abbr .. "." .. one.name, one.name, 32, nil, one.mask))
      end
    elseif field.kind == "bytes" then
      register(key, ProtoField.bytes(abbr, field.name))
    elseif field.kind == "text" then
      register(key, ProtoField.string(abbr, field.name))
    elseif field.kind == "blob" then
      register(key .. ".length", ProtoField.uint8(abbr .. ".length", field.name .. " length"))
      register(key, ProtoField.bytes(abbr, field.name))
    elseif field.kind == "records" then
      register(key .. ".count", ProtoField.uint8(abbr .. ".count", field.name))
    end
  end
end

for name, fields in pairs(LAYOUTS) do register_layout(name, fields) end

register("capture.version", ProtoField.uint8("itp.capture.version", "header version"))
register("capture.header_size", ProtoField.uint8("itp.capture.header_size", "header size"))
register("capture.direction", ProtoField.uint8("itp.capture.direction", "direction", base.DEC, CAPTURE_DIRECTIONS))
register("capture.flags", ProtoField.uint8("itp.capture.flags", "flags", base.HEX))
for _, one in ipairs(CAPTURE_FLAGS) do
  register("capture.flags." .. one.name,
    ProtoField.bool("itp.capture.flags." .. one.name, one.name, 8, nil, one.mask))
end
register("capture.link", ProtoField.uint32("itp.capture.link", "link"))
register("capture.frame_size", ProtoField.uint16("itp.capture.frame_size", "frame size"))
register("capture.opened_size", ProtoField.uint16("itp.capture.opened_size", "opened plaintext size"))
register("frame.major", ProtoField.uint8("itp.frame.major", "protocol major", base.DEC, nil, 0xf0))
register("frame.type", ProtoField.uint8("itp.frame.type", "type", base.DEC, FRAME_TYPES, 0x0f))
register("frame.flags", ProtoField.uint8("itp.frame.flags", "flags", base.HEX))
register("frame.length", ProtoField.uint16("itp.frame.length", "body length"))
register("frame.body", ProtoField.bytes("itp.frame.body", "body"))
register("frame.crc", ProtoField.uint32("itp.frame.crc", "CRC-32", base.HEX))
register("frame.crc_good", ProtoField.bool("itp.frame.crc_good", "CRC right"))
register("sealed.counter", ProtoField.uint32("itp.sealed.counter", "counter"))
register("sealed.ciphertext", ProtoField.bytes("itp.sealed.ciphertext", "ciphertext"))
register("sealed.tag", ProtoField.bytes("itp.sealed.tag", "tag"))
register("message", ProtoField.string("itp.message", "message"))
register("header.opcode", ProtoField.uint8("itp.header.opcode", "opcode", base.HEX, OPCODES))
register("header.version", ProtoField.uint8("itp.header.version", "message version"))
register("header.status", ProtoField.uint8("itp.header.status", "status", base.HEX, value_strings(CODES.status)))
register("header.alarm_sequence", ProtoField.uint16("itp.header.alarm_sequence", "alarm sequence"))
register("header.length", ProtoField.uint16("itp.header.length", "body length"))
register("padding", ProtoField.bytes("itp.padding", "padding"))
register("image", ProtoField.string("itp.image", "image"))
register("segment", ProtoField.bytes("itp.segment", "segment"))
proto.fields = ALL_FIELDS

-- A field belongs to one protocol; the stream's own has none but faults of the stream.
local experts = {}
for _, one in ipairs(FAULTS) do
  local group = one.group == "checksum" and expert.group.CHECKSUM or expert.group.MALFORMED
  local severity = one.group == "comment" and expert.severity.NOTE or expert.severity.ERROR
  EXPERT[one.name] = ProtoExpert.new("itp.fault." .. one.name, one.text, group, severity)
  table.insert(experts, EXPERT[one.name])
end
proto.experts = experts

local function complain(item, fault, detail)
  item:add_proto_expert_info(EXPERT[fault], fault .. ": " .. detail)
end

-- Numbers for people. Exact: no number with a fraction occurs, and what a double cannot count is left alone. --------------

local function decimal(value, places, least)
  local scale = 10 ^ places
  local whole, rest = math.floor(value / scale), value % scale
  local fraction = string.format("%0" .. places .. ".0f", rest):gsub("0+$", "")
  while #fraction < least do fraction = fraction .. "0" end
  local text = string.format("%.0f", whole)
  return fraction == "" and text or text .. "." .. fraction
end

local function minute(value)
  return string.format("%02d:%02d", math.floor(value / 60), value % 60)
end

local function span(value)
  local parts = {}
  for _, unit in ipairs({{86400, "d"}, {3600, "h"}, {60, "min"}}) do
    local count = math.floor(value / unit[1])
    if count > 0 then table.insert(parts, string.format("%.0f %s", count, unit[2])) end
    value = value % unit[1]
  end
  if value > 0 or #parts == 0 then table.insert(parts, string.format("%.0f s", value)) end
  return table.concat(parts, " ")
end

local function time_of_day(seconds)
  return string.format("%02d:%02d:%02d", math.floor(seconds / 3600), math.floor(seconds / 60) % 60, seconds % 60)
end

-- Days since 1970 to a date of the Gregorian calendar: shifted to begin in March, so that a leap day ends the year.
local function date(days)
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local of_era = shifted % 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local day = of_year - math.floor((153 * month + 2) / 5) + 1
  local civil = month < 10 and month + 3 or month - 9
  return string.format("%04d-%02d-%02d", year + era * 400 + (civil <= 2 and 1 or 0), civil, day)
end

local HUMAN = {
  flow = function(v) return decimal(v, 6, 3) .. " ml/day" end,
  volume = function(v) return decimal(v, 6, 3) .. " ml" end,
  daily_dose = function(v) return decimal(v, 3, 0) .. " µg/day" end,
  dose = function(v) return decimal(v, 3, 0) .. " µg" end,
  concentration = function(v) return decimal(v, 3, 0) .. " µg/ml" end,
  share = function(v) return decimal(v, 4, 1) .. " %" end,
  utc = function(v)
    if v > LAST_DATE_S then return "" end
    return date(math.floor(v / 86400)) .. " " .. time_of_day(v % 86400) .. " UTC"
  end,
  pump_time = function(v) return string.format("day %.0f %s", math.floor(v / 86400), time_of_day(v % 86400)) end,
  span = span,
  shift = function(v)
    if v == 0 then return "" end
    return span(math.abs(v) * 60) .. (v > 0 and " earlier" or " later")
  end,
  zone = function(v) return "UTC" .. (v < 0 and "-" or "+") .. minute(math.abs(v)) end,
  minute = minute,
  days = function(v)
    if v == 127 then return "every day" end
    local found = {}
    for index, name in ipairs(DAYS) do
      if band(rshift(v, index - 1), 1) == 1 then table.insert(found, name) end
    end
    return table.concat(found, ", ")
  end,
}

local function human(field, value, all_ones)
  if all_ones and field.ones then return field.ones end
  if field.form == "flags" then
    local found = {}
    for _, flag in ipairs(field.flags) do
      if band(rshift(value, flag.bit), 1) == 1 then table.insert(found, flag.name) end
    end
    return table.concat(found, ", ")
  end
  local write = HUMAN[field.form]
  if not write or value >= EXACT or value <= -EXACT then return "" end
  return write(value)
end

-- Bytes ---------------------------------------------------------------------------------------------------------------

local crc_table = {}
for index = 0, 255 do
  local value = index
  for _ = 1, 8 do
    value = band(value, 1) == 1 and bxor(rshift(value, 1), 0xedb88320) or rshift(value, 1)
  end
  crc_table[index] = value
end

local function crc32(data)
  local value = 0xffffffff
  for index = 1, #data do
    value = bxor(rshift(value, 8), crc_table[band(bxor(value, data:byte(index)), 0xff)])
  end
  return bxor(value, 0xffffffff)
end

-- What a segment between two zeros holds, or nil where it is no COBS.
local function uncobs(segment)
  local out, at, size = {}, 1, #segment
  while at <= size do
    local code = segment:byte(at)
    if code == 0 or at + code - 1 > size then return nil end
    table.insert(out, segment:sub(at + 1, at + code - 1))
    at = at + code
    if code < 255 and at <= size then table.insert(out, "\0") end
  end
  return table.concat(out)
end

local function as_bytes(text)
  local made = ByteArray.new()
  made:set_size(#text)
  for index = 1, #text do made:set_index(index - 1, text:byte(index)) end
  return made
end

local function integer(tvb, at, size)
  local value = 0
  for index = size - 1, 0, -1 do value = value * 256 + tvb(at + index, 1):uint() end
  return value
end

-- What is known of a link while its frames go by ------------------------------------------------------------------------
--
-- Only the first pass over a file is in order. What it finds is kept by packet, for the passes after it.

local links, images = {}, {}

function proto.init()
  links, images = {}, {}
end

local function link_state(link)
  if not links[link] then links[link] = { parts = {} } end
  return links[link]
end

local function layout_size(layout, data, at)
  for _, field in ipairs(LAYOUTS[layout]) do
    local stop = at + field.size
    if stop > #data then return nil end
    if field.kind == "blob" or field.kind == "records" then
      local count = data:byte(at + 1)
      if field.high and count > field.high then return nil end
      stop = stop + count * (field.kind == "blob" and 1 or RECORD_SIZES[field.table])
    end
    at = stop
  end
  return at
end

-- The one image that bytes of unknown kind can be by their length, nil where several or none fit.
local function guess_image(data)
  local found = nil
  for _, name in pairs(IMAGES) do
    if layout_size(name, data, 0) == #data then
      if found then return nil end
      found = name
    end
  end
  return found
end

-- Messages whose blobs are parts of an image: when the last part is there, the whole image and its name.
local function follow_image(context, name, values)
  local state = link_state(context.link)
  if name == "SetRate" then
    state.kind, state.parts, state.written = IMAGES.program, {}, nil
  elseif name == "Begin" then
    state.kind, state.parts = IMAGES[values.kind], {}
    state.written, state.total = {}, values.total_length
  elseif name == "Write" and state.written then
    local offset = values.offset
    if offset == 0 then state.written = {} end
    state.written[offset] = values.data
    local whole, at = {}, 0
    while state.written[at] do
      table.insert(whole, state.written[at])
      if #state.written[at] == 0 then break end
      at = at + #state.written[at]
    end
    if at == state.total then return table.concat(whole), state.kind end
  elseif name == "ReadBack" or name == "Staged" or name == "ProgramReport" then
    local parts = name == "ProgramReport" and "report" or "parts"
    if values.part == 0 or not state[parts] then state[parts] = {} end
    state[parts][values.part] = values.image
    if values.part == values.parts - 1 then
      local whole = {}
      for part = 0, values.part do
        if not state[parts][part] then return nil end
        table.insert(whole, state[parts][part])
      end
      local data = table.concat(whole)
      return data, name == "ProgramReport" and IMAGES.program or state.kind or guess_image(data)
    end
  end
  return nil
end

-- Layouts -------------------------------------------------------------------------------------------------------------

local dissect_fields

local function outside(field, value, low, high)
  local unit = field.unit and (" " .. field.unit) or ""
  return string.format("%s is outside %.0f to %.0f%s", value, low, high, unit)
end

local READ = {}

function READ.uint(context, tree, tvb, at, field, key)
  local range = tvb(at, field.size)
  local raw = range:bytes():raw()
  local all_ones = raw == string.rep("\255", field.size)
  if field.none and all_ones then
    tree:add(F[key .. ".none"], range)
    return at + field.size, nil, ""
  end
  local value = integer(tvb, at, field.size) - (field.bias or 0)
  local item = field.bias and tree:add(F[key], range, value) or tree:add_le(F[key], range)
  local text = human(field, value, all_ones)
  if text ~= "" then item:append_text(" (" .. text .. ")") end
  local high = field.high or (256 ^ field.size - 1)
  if value < field.low or (field.high and value > high) then
    complain(item, "out_of_range", outside(field, string.format("%.0f", value), field.low, high))
  end
  return at + field.size, value, text ~= "" and text or string.format("%.0f", value)
end

function READ.bool(context, tree, tvb, at, field, key)
  local range = tvb(at, 1)
  local value = range:uint()
  if value == BOOL_TRUE or value == BOOL_FALSE then
    tree:add(F[key], range, value == BOOL_TRUE)
    return at + 1, value == BOOL_TRUE, value == BOOL_TRUE and "yes" or "no"
  end
  local item = tree:add(range, string.format("%s: 0x%02x", field.name, value))
  complain(item, "not_boolean",
    string.format("0x%02x is neither 0x%02x (false) nor 0x%02x (true)", value, BOOL_FALSE, BOOL_TRUE))
  return at + 1, nil, "?"
end

function READ.code(context, tree, tvb, at, field, key)
  local range = tvb(at, field.size)
  local value = range:le_uint()
  local item = tree:add_le(F[key], range)
  local name = CODES[field.table][value]
  if not name then
    complain(item, "unknown_code", string.format("0x%0" .. 2 * field.size .. "x is no code of the table '%s'", value,
      field.table))
  end
  return at + field.size, name, name or "?"
end

function READ.bitmap(context, tree, tvb, at, field, key)
  local range = tvb(at, field.size)
  local rest, names = range:le_uint(), {}
  local item = tree:add_le(F[key], range)
  for _, one in ipairs(BITMAPS[field.table]) do
    item:add_le(F[key .. "." .. one.name], range)
    if band(rest, one.mask) ~= 0 then
      rest = rest - one.mask
      table.insert(names, one.name)
    end
  end
  item:append_text(" (" .. (#names > 0 and table.concat(names, ", ") or "none") .. ")")
  if rest ~= 0 then
    complain(item, "unknown_bits", string.format("0x%08x are no bits of the bitmap '%s'", rest, field.table))
  end
  return at + field.size, names, table.concat(names, ", ")
end

function READ.bytes(context, tree, tvb, at, field, key)
  tree:add(F[key], tvb(at, field.size))
  return at + field.size, nil, ""
end

function READ.text(context, tree, tvb, at, field, key)
  local range = tvb(at, field.size)
  local raw = range:bytes():raw()
  local stop = raw:find("\0", 1, true)
  local text, rest = raw, ""
  if stop then text, rest = raw:sub(1, stop - 1), raw:sub(stop) end
  local shown = text:gsub("[^\32-\126]", function(c) return string.format("\\x%02x", c:byte()) end)
  local item = tree:add(F[key], range, shown)
  if rest:find("[^%z]") then
    complain(item, "padding", "there are bytes other than zero after the end of the text")
  elseif shown ~= text then
    complain(item, "not_text", "the text holds a byte outside 0x20 to 0x7e")
  end
  return at + field.size, text, shown
end

function READ.blob(context, tree, tvb, at, field, key, stop)
  local count = tvb(at, 1):uint()
  local item = tree:add(F[key .. ".length"], tvb(at, 1))
  if count > field.high then
    complain(item, "too_many", string.format("%d bytes, at most %d", count, field.high))
  end
  if at + 1 + count > stop then
    complain(item, "truncated", string.format("the field ends at byte %d, the payload at %d", at + 1 + count
      - context.start, stop - context.start))
    return nil
  end
  if count == 0 then return at + 1, "", "0 bytes" end
  tree:add(F[key], tvb(at + 1, count))
  return at + 1 + count, tvb(at + 1, count):bytes():raw(), count .. " bytes"
end

function READ.records(context, tree, tvb, at, field, key, stop)
  local count, size = tvb(at, 1):uint(), RECORD_SIZES[field.table]
  local list = tree:add(F[key .. ".count"], tvb(at, 1))
  if count > field.high then
    complain(list, "too_many", string.format("%d records, at most %d", count, field.high))
  end
  at = at + 1
  for index = 0, count - 1 do
    if at + size > stop then
      complain(list, "truncated", string.format("%d records, room for %d", count, index))
      return nil
    end
    local one = list:add(tvb(at, size), string.format("%s[%d]", field.name, index))
    at = dissect_fields(context, one, tvb, at, at + size, field.table)
  end
  return at, count, count .. " " .. field.name
end

local function in_order(told)
  local texts = {}
  for rank = 1, LABELS do
    if told[rank] then table.insert(texts, told[rank]) end
  end
  return texts
end

-- Adds the fields of a layout from ``at``; gives the place behind them and their values, or nil where bytes end too early.
function dissect_fields(context, tree, tvb, at, stop, layout)
  local values, told = {}, {}
  for _, field in ipairs(LAYOUTS[layout]) do
    if at + field.size > stop then
      complain(tree, "truncated", string.format("%s ends at byte %d, the payload at %d", field.name,
        at + field.size - context.start, stop - context.start))
      return nil, values, in_order(told)
    end
    local place, value, text = READ[field.kind](context, tree, tvb, at, field, layout .. "." .. field.name, stop)
    if not place then return nil, values, in_order(told) end
    at = place
    values[field.name] = value
    if field.label and text ~= "" then told[field.rank] = field.label .. " " .. text end
  end
  return at, values, in_order(told)
end

-- A layout that must fill its bytes: handshake bodies, what is sealed in them, images.
local function dissect_record(context, tree, tvb, at, stop, layout)
  context.start = at
  local place, values, texts = dissect_fields(context, tree, tvb, at, stop, layout)
  if place and place < stop then
    complain(tree:add(tvb(place, stop - place), "bytes behind the last field"), "trailing",
      string.format("%d bytes after the last field", stop - place))
  end
  return values, texts
end

-- The image of an order, in bytes of its own: its parts may lie in several packets.
local function dissect_image(context, tree, data, name)
  local tvb = as_bytes(data):tvb("Image")
  local item = tree:add(F.image, tvb(0, #data), name)
  item:append_text(", " .. #data .. " bytes")
  if #data == 0 then return end
  dissect_record(context, item, tvb, 0, #data, name)
end

local function show_image(context, tree, message, values, whole)
  local key = context.number .. "/" .. context.ordinal
  if not context.visited and whole then
    local data, name = follow_image(context, message, values)
    if data and name then images[key] = { data = data, name = name } end
  end
  if images[key] and #images[key].data > 0 then dissect_image(context, tree, images[key].data, images[key].name) end
end

-- One message: header, fields, and behind it the padding of the sealed planes. Gives a line for the list of packets.
local function dissect_message(context, tree, tvb, at, stop, plane, padded)
  context.start = at
  if at == stop then
    complain(tree, "empty", "a payload has at least its header")
    return "empty payload"
  end
  local opcode = tvb(at, 1):uint()
  local message = MESSAGES[opcode]
  local name = message and message.name or string.format("opcode 0x%02x", opcode)
  local item = tree:add(F.message, tvb(at, stop - at), name)
  local head = item:add(F["header.opcode"], tvb(at, 1))
  local answer = (message and message.plane or plane) == "answer"
  if not message then
    complain(head, "unknown_opcode", string.format("0x%02x is no message of ITP/1", opcode))
    answer = padded and opcode >= 0x80
  elseif message.plane ~= plane then
    complain(head, "wrong_plane", string.format("%s is not a message of the %s plane", name, plane))
  end
  local size = answer and 7 or 4
  if at + size > stop then
    complain(item, padded and "padding" or "truncated", string.format("%d bytes, the header has %d", stop - at, size))
    return name .. ", truncated"
  end
  local version = item:add(F["header.version"], tvb(at + 1, 1))
  if message and tvb(at + 1, 1):uint() ~= message.version then
    complain(version, "version", string.format("message version %d, known is %d", tvb(at + 1, 1):uint(), message.version))
  end
  local status = nil
  if answer then
    status = CODES.status[tvb(at + 2, 1):uint()]
    local told = item:add(F["header.status"], tvb(at + 2, 1))
    if name ~= REFUSAL and message and status ~= "ok" then
      complain(told, "status", "it is not OK, and only a Refusal may say so")
    elseif name == REFUSAL and not status then
      complain(told, "unknown_code", string.format("0x%02x is no code of the table 'status'", tvb(at + 2, 1):uint()))
    elseif name == REFUSAL and status == "ok" then
      complain(told, "status", "a Refusal is never OK")
    end
    item:add_le(F["header.alarm_sequence"], tvb(at + 3, 2))
  end
  local declared = tvb(at + size - 2, 2):le_uint()
  local length = item:add_le(F["header.length"], tvb(at + size - 2, 2))
  local stated = at + size + declared
  local finish = math.min(stated, stop)
  if not padded and stated ~= stop then
    complain(length, "length", string.format("%d bytes declared, %d after the header", declared, stop - at - size))
  elseif padded then
    local total = stop - at
    if total % PADDING_BLOCK ~= 0 or total > MAX_PLAINTEXT or stated > stop or stop - stated >= PADDING_BLOCK then
      complain(length, "padding", string.format("a message of %d bytes is not padded to %d", stated - at, total))
    end
  end
  local place, values, texts = finish, {}, {}
  if message then place, values, texts = dissect_fields(context, item, tvb, at + size, finish, message.layout) end
  if padded and stated < stop then
    local filler = item:add(F.padding, tvb(stated, stop - stated))
    if tvb(stated, stop - stated):bytes():raw():find("[^%z]") then
      complain(filler, "padding", "the padding holds a byte other than zero")
    end
  end
  if place and place < finish then
    complain(item, "trailing", string.format("%d bytes after the last field", finish - place))
  end
  show_image(context, item, name, values, place == finish)
  local line = status and status ~= "ok" and name .. " (" .. status .. ")" or name
  return #texts > 0 and line .. " " .. table.concat(texts, ", ") or line
end

-- Frames --------------------------------------------------------------------------------------------------------------

local ENDS = { request = { "programmer", "pump" }, answer = { "pump", "programmer" } }
local TELEMETER = { request = { "programmer", "telemeter" }, answer = { "telemeter", "programmer" } }

-- The first fault of a frame, in the order in which a receiver tests (docs/protocol.md, chapter 4), or nil.
local function frame_fault(raw)
  if #raw < 8 then return "too_short", #raw .. " bytes, a frame has at least 8" end
  if #raw > MAX_FRAME then return "too_long", string.format("%d bytes, a frame has at most %d", #raw, MAX_FRAME) end
  local b1, b2, b3, b4 = raw:byte(#raw - 3, #raw)
  local stated, right = b1 + b2 * 256 + b3 * 65536 + b4 * 16777216, crc32(raw:sub(1, #raw - 4))
  if stated ~= right then return "crc", string.format("0x%08x, right would be 0x%08x", stated, right) end
  local first, flags, low, high = raw:byte(1, 4)
  if rshift(first, 4) ~= PROTOCOL_MAJOR then
    return "frame_version", string.format("protocol major %d, known is %d", rshift(first, 4), PROTOCOL_MAJOR)
  end
  if not FRAME_TYPES[band(first, 15)] then return "type", string.format("%d is no frame type", band(first, 15)) end
  if flags ~= 0 then return "flags", string.format("0x%02x, none is known", flags) end
  local length = low + high * 256
  if length ~= #raw - 8 then
    return "frame_length", string.format("%d bytes declared, the body has %d", length, #raw - 8)
  end
  return nil
end

local function dissect_sealed(tree, tvb, at, size)
  local counter = nil
  if size >= 4 then
    counter = tvb(at, 4):le_uint()
    tree:add_le(F["sealed.counter"], tvb(at, 4))
  end
  if size < SEALED_SHORTEST or size > SEALED_LONGEST or (size - 4) % PADDING_BLOCK ~= 0 then
    complain(tree, "sealed", string.format("a sealed body of %d bytes; right are %d to %d, in steps of %d", size,
      SEALED_SHORTEST, SEALED_LONGEST, PADDING_BLOCK))
    return counter
  end
  tree:add(F["sealed.ciphertext"], tvb(at + 4, size - 20))
  tree:add(F["sealed.tag"], tvb(at + size - 16, 16))
  return counter
end

-- A frame of ``size`` bytes from ``at``; ``opened`` says where its plaintext lies, if it is known. Gives type, line, ends.
local function dissect_frame(context, tree, tvb, at, size, opened)
  local raw = size > 0 and tvb(at, size):bytes():raw() or ""
  local fault, why = frame_fault(raw)
  local item = size > 0 and tree:add(tvb(at, size), "Frame, " .. size .. " bytes") or tree
  if size < 8 then
    complain(item, fault, why)
    return nil, "no frame: " .. fault
  end
  item:add(F["frame.major"], tvb(at, 1))
  local kind = item:add(F["frame.type"], tvb(at, 1))
  item:add(F["frame.flags"], tvb(at + 1, 1))
  item:add_le(F["frame.length"], tvb(at + 2, 2))
  local crc = item:add_le(F["frame.crc"], tvb(at + size - 4, 4))
  item:add(F["frame.crc_good"], tvb(at + size - 4, 4), fault ~= "crc" and fault ~= "too_long"):set_generated(true)
  if fault then
    complain(fault == "crc" and crc or item, fault, why)
    return nil, "no frame: " .. fault
  end
  local code = band(raw:byte(1), 15)
  local name, shape = FRAME_TYPES[code], FRAME_SHAPES[code]
  local body, stop = at + 4, at + size - 4
  item:append_text(", " .. name)
  if body < stop then item:add(F["frame.body"], tvb(body, stop - body)) end
  local line, texts = name, nil
  if shape.layout then
    local part = tree:add(tvb(at, size), name)
    _, texts = dissect_record(context, part, tvb, body, stop, shape.layout)
    if opened and shape.sealed_layout then
      local inside = tree:add(tvb(opened.at, opened.size), "Opened: " .. shape.sealed_layout)
      dissect_record(context, inside, tvb, opened.at, opened.at + opened.size, shape.sealed_layout)
    end
    if #texts > 0 then line = name .. " " .. table.concat(texts, ", ") end
  elseif shape.sealed then
    local part = tree:add(tvb(at, size), name .. ", sealed")
    local counter = dissect_sealed(part, tvb, body, stop - body)
    if opened then
      line = dissect_message(context, tree, tvb, opened.at, opened.at + opened.size, shape.plane, true)
    else
      line = string.format("%s sealed, counter %s, %d bytes", name, counter or "missing", stop - body)
    end
  else
    line = dissect_message(context, tree, tvb, body, stop, "telemeter", false)
  end
  return name, line, (shape.telemeter and TELEMETER or ENDS)[shape.way]
end

-- A segment between zeros of a byte stream.
local function dissect_segment(context, tree, tvb, at, size)
  local raw = size > 0 and tvb(at, size):bytes():raw() or ""
  local segment = size > 0 and tree:add(F.segment, tvb(at, size)) or tree
  if #raw > MAX_SEGMENT then
    complain(segment, "too_long", string.format("a segment of %d bytes, at most %d", #raw, MAX_SEGMENT))
    return nil, "no frame: too_long"
  end
  local frame = uncobs(raw)
  if not frame then
    complain(segment, "cobs", "the bytes between two zeros are no COBS")
    return nil, "no frame: cobs"
  end
  if frame == "" then
    complain(segment, "too_short", "0 bytes, a frame has at least 8")
    return nil, "no frame: too_short"
  end
  return dissect_frame(context, tree, as_bytes(frame):tvb("Frame"), 0, #frame, nil)
end

-- Packets of our captures: link type USER0 ----------------------------------------------------------------------------

local function malformed(pinfo, tree, detail)
  complain(tree, "capture", detail)
  pinfo.cols.info:set("malformed capture packet")
end

function proto.dissector(tvb, pinfo, root)
  local present = tvb:len()
  pinfo.cols.protocol:set("ITP")
  local tree = root:add(proto, tvb())
  if present < CAPTURE_HEADER_SIZE then
    malformed(pinfo, tree, string.format("%d bytes, the header has %d", present, CAPTURE_HEADER_SIZE))
    return present
  end
  local head = tree:add(tvb(0, CAPTURE_HEADER_SIZE), "Capture")
  local version, header_size = tvb(0, 1):uint(), tvb(1, 1):uint()
  head:add(F["capture.version"], tvb(0, 1))
  head:add(F["capture.header_size"], tvb(1, 1))
  local direction = head:add(F["capture.direction"], tvb(2, 1))
  local flags = head:add(F["capture.flags"], tvb(3, 1))
  local marks = {}
  for _, one in ipairs(CAPTURE_FLAGS) do
    flags:add(F["capture.flags." .. one.name], tvb(3, 1))
    marks[one.name] = band(tvb(3, 1):uint(), one.mask) ~= 0
  end
  local link = tvb(4, 4):le_uint()
  head:add_le(F["capture.link"], tvb(4, 4))
  head:add_le(F["capture.frame_size"], tvb(8, 2))
  head:add_le(F["capture.opened_size"], tvb(10, 2))
  local frame_size, opened_size = tvb(8, 2):le_uint(), tvb(10, 2):le_uint()
  if version ~= CAPTURE_VERSION then
    malformed(pinfo, head, string.format("header version %d, known is %d: take the dissector of the newer release",
      version, CAPTURE_VERSION))
    return present
  end
  if not CAPTURE_DIRECTIONS[tvb(2, 1):uint()] then complain(direction, "capture", "no direction") end
  if tvb(3, 1):uint() >= 2 * CAPTURE_FLAGS[#CAPTURE_FLAGS].mask then complain(flags, "capture", "an unknown flag") end
  if header_size < CAPTURE_HEADER_SIZE or header_size + frame_size + opened_size ~= present then
    malformed(pinfo, head, string.format("header %d, frame %d and plaintext %d bytes are not the %d of the packet",
      header_size, frame_size, opened_size, present))
    return present
  end
  local context = { link = link, number = pinfo.number, ordinal = 0, visited = pinfo.visited, start = 0 }
  local opened = nil
  if opened_size > 0 then opened = { at = header_size + frame_size, size = opened_size } end
  local dissect = marks.segment and dissect_segment or dissect_frame
  local name, line, ends = dissect(context, tree, tvb, header_size, frame_size, opened)
  if ends then
    pinfo.cols.src:set(ends[1])
    pinfo.cols.dst:set(ends[2])
  end
  tree:append_text(", link " .. link .. ": " .. (name or "no frame") .. (marks.simulated and ", SIMULATED" or ""))
  if opened and marks.opened_as_recorded then
    complain(head, "as_recorded", "the plaintext is what the recorder said; nothing proves that it was in the frame")
  end
  pinfo.cols.info:set((marks.simulated and "SIMULATED " or "") .. line)
  return present
end

-- Byte streams: TCP, and whatever else is decoded as it -----------------------------------------------------------------

local function stream_key(pinfo)
  local a = tostring(pinfo.src) .. ":" .. tostring(pinfo.src_port)
  local b = tostring(pinfo.dst) .. ":" .. tostring(pinfo.dst_port)
  return a < b and a .. "-" .. b or b .. "-" .. a
end

local function dissect_stream(tvb, pinfo, root, may_wait)
  local size = tvb:len()
  local raw = size > 0 and tvb():bytes():raw() or ""
  local tree = root:add(stream_proto, tvb())
  local context = { link = stream_key(pinfo), number = pinfo.number, ordinal = 0, visited = pinfo.visited, start = 0 }
  local at, lines = 1, {}
  pinfo.cols.protocol:set("ITP")
  while at <= size do
    local zero = raw:find("\0", at, true)
    if not zero then
      if size - at + 1 <= MAX_SEGMENT and may_wait then
        pinfo.desegment_offset = at - 1
        pinfo.desegment_len = DESEGMENT_ONE_MORE_SEGMENT
        break
      end
      zero = size + 1
    end
    if zero > at then
      context.ordinal = context.ordinal + 1
      local part = tree:add(proto, tvb(at - 1, zero - at))
      local name, line = dissect_segment(context, part, tvb, at - 1, zero - at)
      part:append_text(": " .. (name or "no frame"))
      table.insert(lines, line)
    end
    at = zero + 1
  end
  if #lines > 0 then pinfo.cols.info:set(table.concat(lines, " | ")) end
  return size
end

function stream_proto.dissector(tvb, pinfo, root)
  return dissect_stream(tvb, pinfo, root, pinfo.can_desegment > 0)
end

-- A stream is ours when a whole frame with the right CRC stands in it between two zeros.
local function heuristic(tvb, pinfo, root)
  local size = tvb:len()
  if size < 10 then return false end
  local raw = tvb(0, math.min(size, 2 * MAX_SEGMENT)):bytes():raw()
  local first = raw:find("[^%z]")
  if raw:byte(1) ~= 0 or not first then return false end
  local zero = raw:find("\0", first, true)
  local frame = zero and zero - first <= MAX_SEGMENT and uncobs(raw:sub(first, zero - 1))
  if not frame or frame_fault(frame) then return false end
  -- A heuristic is told that nothing can wait for more bytes, although TCP does wait when it is asked.
  dissect_stream(tvb, pinfo, root, true)
  pinfo.conversation = stream_proto
  return true
end

DissectorTable.get("wtap_encap"):add((wtap_encaps or wtap).USER0, proto)
DissectorTable.get("tcp.port"):add(TCP_PORT, stream_proto)
stream_proto:register_heuristic("tcp", heuristic)
