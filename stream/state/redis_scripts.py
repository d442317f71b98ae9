"""The Lua scripts that Redis runs. Nothing can come between a check and the write that depends on it.

A partition has a hash `meta`, and a hash of rows for each family of keys. `meta` records who holds the partition
(`epoch`, `holder`), the offset of the last write, and how many rows each family has. If rows were evicted or removed,
the count does not fit.

Every script but OPEN first checks this, and answers with one of

    ok
    taken  epoch                   another holder has taken the partition over
    lost   what, expected, found   the epoch or the offset is an older one, or rows are missing
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, the hash by which Redis knows it, and whether it writes."""

    text: str
    sha: str
    writes: bool


def _script(text: str, *, writes: bool) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), writes)


# Takes a partition over. KEYS: meta. ARGV: the new holder. Returns the new epoch and all fields of meta.
OPEN = _script(
    """\
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
return {epoch, redis.call('HGETALL', KEYS[1])}
""",
    writes=True,
)

# Checks that we hold the partition. KEYS: meta. ARGV: epoch, holder.
_CHECK_HOLDER = """\
local noted = redis.call('HMGET', KEYS[1], 'epoch', 'holder', 'offset')
local epoch = tonumber(noted[1] or '0')
if epoch < tonumber(ARGV[1]) then return {'lost', 'epoch', ARGV[1], noted[1] or ''} end
if noted[2] ~= ARGV[2] then return {'taken', noted[1]} end
"""

# Checks that nothing is lost. KEYS: meta, families. ARGV: epoch, holder, the two offsets that the last write may have
# left.
_CHECK_STATE = f"""\
{_CHECK_HOLDER}
local offset = noted[3] or ''
if offset ~= ARGV[3] and offset ~= ARGV[4] then return {{'lost', 'offset', ARGV[3], offset}} end
for family = 2, #KEYS do
    local expected = redis.call('HGET', KEYS[1], KEYS[family]) or '0'
    local found = redis.call('HLEN', KEYS[family])
    if tonumber(expected) ~= found then return {{'lost', KEYS[family], expected, tostring(found)}} end
end
"""

CHECK = _script(f"{_CHECK_STATE}return {{'ok'}}\n", writes=False)

_SCAN = """\
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local cursor = ARGV[{cursor}]
if server ~= ARGV[{server}] then cursor = '0' end
local found = redis.call('HSCAN', KEYS[2], cursor, 'MATCH', ARGV[{pattern}], 'COUNT', ARGV[{count}])
return {{'ok', server, found[1], found[2]}}
"""

# Reads some rows. KEYS: meta, a family. ARGV: as above, the server that has given the cursor, the cursor, a pattern, a
# count. Returns the server, the next cursor and the rows. A cursor is valid only on the server process that gave it,
# because another one orders the rows differently; there the scan begins again.
PART = _script(
    f"{_CHECK_STATE}\n{_SCAN.format(server=5, cursor=6, pattern=7, count=8)}",
    writes=False,
)

# The same for a reader that does not hold the partition, and so can't know whether rows are missing. ARGV: the server
# that has given the cursor, the cursor, a pattern, a count.
PEEK = _script(_SCAN.format(server=1, cursor=2, pattern=3, count=4), writes=False)

# Writes a checkpoint. KEYS: meta, families. ARGV: epoch, holder, offsets, then for each family the number of keys and
# values to put, these, the number of keys to remove, and these.
#
# The offset is written first. If Redis lacks memory, replicas or a disk, it refuses the first write of a script, and so
# the whole script. A write whose answer was lost is repeated unchanged; if it had arrived, the script only writes its
# holder again, so that whoever waits for the replicas waits until they have all that came before. Lua passes at most
# 8,000 values to a call.
WRITE = _script(
    f"""\
{_CHECK_STATE}
if offset == ARGV[4] and offset ~= ARGV[3] then
    redis.call('HSET', KEYS[1], 'holder', ARGV[2])
    return {{'ok'}}
end
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
""",
    writes=True,
)

# Removes all rows. KEYS: meta, families. ARGV: epoch, holder.
CLEAR = _script(
    f"""\
{_CHECK_HOLDER}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= 'epoch' and field ~= 'holder' then redis.call('HDEL', KEYS[1], field) end
end
for family = 2, #KEYS do redis.call('UNLINK', KEYS[family]) end
return {{'ok'}}
""",
    writes=True,
)
