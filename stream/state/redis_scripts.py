"""What Redis runs by itself, so that nothing can come between a question and a write that depends on its answer.

A partition is a hash `meta` and a hash of rows for each family of keys. `meta` notes who holds the partition (`epoch`,
`holder`), the offset of the last write, and how many rows each family has: a family that was evicted or removed is
missed by its count.

Every script first asks how the partition stands, and answers with one of

    ok
    taken  epoch                   a later epoch, or another holder of ours
    lost   what, expected, found   an epoch or an offset gone back, or rows that are not there
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that Redis knows it by."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# KEYS: meta. ARGV: the new holder. Returns the new epoch and all that meta notes.
OPEN = _script("""\
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
return {epoch, redis.call('HGETALL', KEYS[1])}
""")

# KEYS: meta. ARGV: epoch, holder.
_HELD = """\
local noted = redis.call('HMGET', KEYS[1], 'epoch', 'holder', 'offset')
local epoch = tonumber(noted[1] or '0')
if epoch < tonumber(ARGV[1]) then return {'lost', 'epoch', ARGV[1], noted[1] or ''} end
if noted[2] ~= ARGV[2] then return {'taken', noted[1]} end
"""

# KEYS: meta, families. ARGV: epoch, holder, and the two offsets that the last write may have left.
_WHOLE = f"""\
{_HELD}
local offset = noted[3] or ''
if offset ~= ARGV[3] and offset ~= ARGV[4] then return {{'lost', 'offset', ARGV[3], offset}} end
for family = 2, #KEYS do
    local expected = redis.call('HGET', KEYS[1], KEYS[family]) or '0'
    local found = redis.call('HLEN', KEYS[family])
    if tonumber(expected) ~= found then return {{'lost', KEYS[family], expected, tostring(found)}} end
end
"""

CHECK = _script(f"{_WHOLE}return {{'ok'}}\n")

# KEYS: meta, a family. ARGV: as above, the server that the cursor is of, the cursor, a pattern, a count. Returns the
# server, the next cursor and some rows. A cursor is of use to the process that gave it: another orders rows otherwise,
# so there the walk begins again.
PART = _script(f"""\
{_WHOLE}
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local cursor = ARGV[6]
if server ~= ARGV[5] then cursor = '0' end
local found = redis.call('HSCAN', KEYS[2], cursor, 'MATCH', ARGV[7], 'COUNT', ARGV[8])
return {{'ok', server, found[1], found[2]}}
""")

# KEYS: meta, families. ARGV: epoch, holder, offsets, then for each family the number of keys and values to put, these,
# the number of keys to remove, and these.
#
# The offset is written first: Redis refuses the first write of a script for want of memory, of replicas or of a disk,
# or none. A write whose answer was lost is sent again as it is, and answered at once when it had arrived.
# Lua passes 8,000 values to a call at most.
WRITE = _script(f"""\
{_WHOLE}
if offset == ARGV[4] and offset ~= ARGV[3] then return {{'ok'}} end
redis.call('HSET', KEYS[1], 'offset', ARGV[4])
local at = 5
local function each(command, key)
    local last = at + tonumber(ARGV[at])
    at = at + 1
    while at <= last do
        local upto = math.min(at + 1999, last)
        redis.call(command, key, unpack(ARGV, at, upto))
        at = upto + 1
    end
end
for family = 2, #KEYS do
    each('HSET', KEYS[family])
    each('HDEL', KEYS[family])
    local rows = redis.call('HLEN', KEYS[family])
    if rows > 0 then
        redis.call('HSET', KEYS[1], KEYS[family], rows)
    else
        redis.call('HDEL', KEYS[1], KEYS[family])
    end
end
return {{'ok'}}
""")

# KEYS: meta, families. ARGV: epoch, holder.
CLEAR = _script(f"""\
{_HELD}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= 'epoch' and field ~= 'holder' then redis.call('HDEL', KEYS[1], field) end
end
for family = 2, #KEYS do redis.call('UNLINK', KEYS[family]) end
return {{'ok'}}
""")
