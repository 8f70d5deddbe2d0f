"""The store in a Valkey or Redis: hashes of documents and of what servers say, and two keys. A call is one script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelward.config.fleet import Fleet
from modelward.fleet.bounded_answers import bound_answers
from modelward.fleet.store import (
    KEPT_SECONDS,
    LARGEST_DOCUMENT,
    LARGEST_EVIDENCE,
    LARGEST_NOTE,
    LEASE_SECONDS,
    LONGEST_DOCUMENT_NAME,
    LONGEST_REPLICA,
    LONGEST_WHY,
    LONGEST_WORD,
    MOST_COUNTED,
    MOST_DOCUMENTS,
    MOST_REPLICAS,
    MOST_TOLD,
    TIMEOUT_SECONDS,
    Document,
    NotTaken,
    Seen,
    StoreError,
    Told,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

# KEYS of all: documents, revision, leader, notes, evidence. A document is "EPOCH DATA", what a server says "MS DATA".
CLOCK = "local c = redis.call('TIME'); local now = c[1] * 1000 + math.floor(c[2] / 1000)\n"
EXCHANGE = (
    CLOCK
    + f"""
local replica, identity = ARGV[1], ARGV[2]
local said = string.match(redis.call('HGET', KEYS[4], replica) or '', '^%d+ (.*)$') or ''
if #said > {LARGEST_NOTE} then said = '' end
if redis.call('HEXISTS', KEYS[4], replica) == 1 or redis.call('HLEN', KEYS[4]) < {MOST_REPLICAS} then
  local stamp = string.format('%.0f ', now)
  redis.call('HSET', KEYS[4], replica, stamp .. ARGV[3])
  if ARGV[4] == '' then redis.call('HDEL', KEYS[5], replica)
  else redis.call('HSET', KEYS[5], replica, stamp .. ARGV[4]) end
end
local leader = redis.call('GET', KEYS[3])
local left, endless = redis.call('PTTL', KEYS[3]), ''
if leader and (left < 0 or left > {int(1000 * LEASE_SECONDS)}) then
  redis.call('PEXPIRE', KEYS[3], {int(1000 * LEASE_SECONDS)})
  endless = '1'
end
if ARGV[6] == '1' and (not leader or leader == identity) then
  redis.call('SET', KEYS[3], identity, 'PX', {int(1000 * LEASE_SECONDS)})
  leader = identity
elseif leader == identity then
  redis.call('DEL', KEYS[3])
  leader = false
end
leader = leader and string.sub(leader, 1, {LONGEST_WORD})
local revision = redis.call('GET', KEYS[2])
if not revision or #revision > {LONGEST_WORD} then
  revision = c[1] .. '.' .. c[2]
  redis.call('SET', KEYS[2], revision)
end
if revision == ARGV[5] then return {{revision, leader or '', said, '=', endless}} end
local told, size, named = {{revision, leader or '', said, '!', endless}}, 0, {{}}
local function tell(name, data)
  data = string.sub(data, 1, {LARGEST_DOCUMENT + 32})
  size = size + #name + #data
  table.insert(told, name)
  table.insert(told, data)
end
for i = 7, #ARGV do
  local data = not named[ARGV[i]] and redis.call('HGET', KEYS[1], ARGV[i])
  named[ARGV[i]] = true
  if data then tell(ARGV[i], size > {MOST_TOLD} and (string.match(data, '^%d+ ') or '') or data) end
end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, math.min(#all, 2 * {MOST_DOCUMENTS}), 2 do
  if size > {MOST_TOLD} then break end
  if #all[i] <= {LONGEST_DOCUMENT_NAME} and not named[all[i]] then tell(all[i], all[i + 1]) end
end
return told
"""
)
SWAP = (
    CLOCK
    + f"""
local was = redis.call('HGET', KEYS[1], ARGV[1])
local epoch = was and tonumber(string.match(was, '^(%d+) ')) or 0
if epoch >= 10^15 then epoch = 0 end
if epoch ~= tonumber(ARGV[2]) then return {{1, string.sub(was or '', 1, {LARGEST_DOCUMENT + 32})}} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SET', KEYS[2], c[1] .. '.' .. c[2] .. ' ' .. ARGV[4])
return {{0, ''}}
"""
)
TOLD = (
    CLOCK
    + f"""
local told, size = {{}}, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^(%d+) '))
  if not at or #all[i] > {LONGEST_REPLICA} or math.abs(now - at) > {int(1000 * KEPT_SECONDS)} then
    redis.call('HDEL', KEYS[1], all[i])
  elseif #all[i + 1] <= tonumber(ARGV[1]) and #told < 3 * {MOST_REPLICAS} and size + #all[i + 1] <= {MOST_COUNTED} then
    size = size + #all[i + 1]
    table.insert(told, all[i])
    table.insert(told, string.format('%.0f', now - at))
    table.insert(told, string.match(all[i + 1], '^%d+ (.*)$'))
  end
end
return told
"""
)
LEAVE = """
if redis.call('GET', KEYS[3]) == ARGV[2] then redis.call('DEL', KEYS[3]) end
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('HDEL', KEYS[5], ARGV[1])
"""
KEYS = ("documents", "revision", "leader", "notes", "evidence")


class ValkeyStore:
    """One connection, made when it is needed."""

    def __init__(self, settings: Fleet) -> None:
        self._settings = settings
        self.where = settings.where
        self._keys = [f"{{{settings.name}}}:fleet:{each}" for each in KEYS]
        self._client: Redis | None = None

    async def exchange(
        self,
        replica: str,
        *,
        identity: str,
        note: bytes,
        evidence: bytes,
        revision: str,
        may_lead: bool,
        names: Sequence[str] = (),
    ) -> Seen:
        own = (replica, identity, note, evidence, revision, int(may_lead))
        told = await self._call(EXCHANGE, self._keys, *own, *names)
        if not isinstance(told, list) or len(told) < 5 or not all(isinstance(each, bytes) for each in told):
            raise await self._strange()
        found, leader, said, kind, endless, *all_ = told
        pairs = zip(all_[::2], all_[1::2], strict=False)
        documents = {_text(name): _document(data) for name, data in pairs}
        return Seen(_text(found), _text(leader), None if kind == b"=" else documents, said, bool(endless))

    async def swap(self, name: str, before: int, epoch: int, data: bytes) -> Document | None:
        if len(data) > LARGEST_DOCUMENT:
            raise NotTaken(f"{name} has {len(data)} bytes, and a document at most {LARGEST_DOCUMENT}")
        told = await self._call(SWAP, self._keys, name, before, b"%d %b" % (epoch, data), f"{epoch} {name}")
        match told:
            case [0, _]:
                return None
            case [1, bytes(there)]:
                return _document(there)
        raise await self._strange()

    async def notes(self) -> Mapping[str, Told]:
        return await self._told(3, LARGEST_NOTE)

    async def evidence(self) -> Mapping[str, Told]:
        return await self._told(4, LARGEST_EVIDENCE)

    async def leave(self, replica: str, identity: str) -> None:
        await self._call(LEAVE, self._keys, replica, identity)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.connection_pool.disconnect()

    async def _told(self, key: int, largest: int) -> Mapping[str, Told]:
        told = await self._call(TOLD, [self._keys[key]], largest + 32)
        if not isinstance(told, list) or len(told) % 3 or not all(isinstance(each, bytes) for each in told):
            raise await self._strange()
        each = zip(told[::3], told[1::3], told[2::3], strict=True)
        try:
            return {_text(name): Told(int(age) / 1000, data) for name, age, data in each}
        except (ValueError, OverflowError):
            raise await self._strange() from None

    async def _call(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._client is None:
                    self._client = _client(self._settings)
                return await self._client.register_script(script)(keys=keys, args=arguments)
        except TimeoutError as error:
            await self.close()
            raise StoreError("no answer in time") from error
        except Exception as error:  # noqa: BLE001 - the client fails in many ways at answers that are none
            await self.close()
            raise StoreError(_why(error)) from None
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _strange(self) -> StoreError:
        await self.close()
        return StoreError("its answer is none of this program's scripts")


def _client(settings: Fleet) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}  # the next round is soon enough
    if (password := settings.password) is not None:
        options["password"] = password
    client = Redis.from_url(
        settings.url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, **options
    )
    bound_answers(client.connection_pool)
    return client


def _why(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:LONGEST_WHY]


def _document(data: bytes) -> Document:
    """Of one that somebody else has written, or that is too long: epoch 0 and what is there."""
    epoch, _, rest = data.partition(b" ")
    if epoch.isdigit() and len(epoch) < 16 and len(data) <= LARGEST_DOCUMENT + 17:
        return Document(int(epoch), rest)
    return Document(int(epoch) if epoch.isdigit() and len(epoch) < 16 else 0, b"")


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
