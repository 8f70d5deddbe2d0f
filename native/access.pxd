# Who calls, and may they: credentials to identities, identities to models and methods.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from native.exchange cimport Stream
from native.h2 cimport Listener
from native.identity cimport Grant, Identity
from native.limit cimport Limiter
from native.route cimport Directory, Entry
from native.verdict cimport Verdict

cdef extern from "tokens.h" nogil:
    ctypedef struct mw_token:
        int64_t expires_ns
        uint32_t owner
        uint32_t stamp

    ctypedef struct mw_tokens:
        mw_token *token

    size_t mw_tokens_size(uint64_t tokens)
    void mw_tokens_init(mw_tokens *table, void *memory, size_t size, const uint64_t *sip_key)
    void mw_tokens_hash(const mw_tokens *table, uint64_t kind, const void *credential, size_t size, uint64_t *hash)
    mw_token *mw_tokens_find(const mw_tokens *table, const uint64_t *hash, int64_t now_ns)
    void mw_tokens_put(mw_tokens *table, const uint64_t *hash, uint32_t owner, uint32_t stamp, int64_t expires_ns,
                       int64_t now_ns)
    void mw_tokens_clear(mw_tokens *table)
    size_t mw_tokens_count(const mw_tokens *table, int64_t now_ns)

cdef enum Outcome:
    IDENTIFIED                    # s.caller is set
    WAITING                       # the credential is being checked; `entered` is called when that is done
    DENIED                        # the stream is refused

cdef class Granted:               # a Grant and what it follows from
    cdef Grant grant
    cdef object rules             # the tuple of their numbers

cdef class Access:
    cdef Listener listener
    cdef void (*entered)(Stream *, int64_t now) noexcept   # the pipeline's: goes on with a stream that has waited
    cdef mw_tokens good           # owner: the slot of an identity
    cdef mw_tokens bad            # owner: an Outcome of checking it (access.pyx); for a short time
    cdef Limiter failures         # credentials that were refused, per peer
    cdef Identity *identities     # owned: `capacity` slots, `taken` of them in use since the start
    cdef uint32_t capacity
    cdef uint32_t taken
    cdef uint32_t hand            # where the search for a slot to give away goes on
    cdef uint32_t stamps          # the last one given
    cdef Identity anonymous       # whose name nobody knows; its grant is NULL where rules allow nobody to be that
    cdef dict slots               # (source, name) -> slot
    cdef list names               # slot -> (source, name)
    cdef dict grants              # tuple of rule numbers -> Granted
    cdef dict models              # name -> number; only ever grows
    cdef object rules             # proxy.access.rules.Rules
    cdef dict attempts            # hash of a credential -> Attempt under way
    cdef dict of_peer             # key of a peer -> its attempts
    cdef uint32_t waiting         # streams
    cdef public object verify     # called with each new Attempt
    cdef public bint forwards     # upstreams see `authorization`
    cdef uint64_t hits
    cdef uint64_t misses
    cdef uint64_t refused         # attempts that ended in a refusal
    cdef uint64_t known_bad       # credentials that were refused again without being checked

    cdef Outcome identify(self, Stream *s, int64_t now) noexcept
    cdef bint permit(self, const Stream *s, const Entry *entry, uint8_t permits, Verdict *v) noexcept
    cdef bint permit_method(self, const Stream *s, uint8_t permits, Verdict *v) noexcept
    cdef int begin(self, Stream *s, int64_t now) except -1
    cdef int64_t wait_of(self, uint64_t peer, int under_way, int64_t now) noexcept
    cdef Identity *identity_of(self, str source, str name) except? NULL
    cdef uint32_t free_slot(self) noexcept
    cdef Granted granted(self, object rules)
    cdef int compile(self, Granted granted) except -1

cdef class Attempt:               # one credential that is being checked, and the streams that wait for it
    cdef Access access
    cdef Stream *first            # borrowed: chained by next_waiting
    cdef uint64_t[2] hash
    cdef uint64_t peer
    cdef readonly str peer_name
    cdef readonly bytes credential
    cdef readonly bint is_key     # an API key, not a token
    cdef int unlink(self, Stream *s) except -1
    cdef int settle(self) except -1

cdef void on_credential(Stream *s, bint key, const uint8_t *value, size_t size) noexcept
cdef void leave(Stream *s) noexcept   # the stream is about to be freed
