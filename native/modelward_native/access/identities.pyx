"""Callers by name, and what rules allow them: one slot each in a fixed table, one grant for all whom the same rules match."""
from hashlib import blake2b

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from modelward_native.access.identity cimport (
    PERMIT_INFER, PERMIT_METADATA, PERMIT_PASSTHROUGH, PERMIT_REPOSITORY, PERMIT_SHADOW, PERMIT_STATISTICS,
    PERMIT_STREAM, Identity)
from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, Limiter
from modelward_native.request.route cimport Directory, Entry

PERMITS = {
    "infer": PERMIT_INFER, "stream": PERMIT_STREAM, "metadata": PERMIT_METADATA, "statistics": PERMIT_STATISTICS,
    "repository": PERMIT_REPOSITORY, "passthrough": PERMIT_PASSTHROUGH, "shadow": PERMIT_SHADOW,
}

cdef enum:
    MODEL_NUMBERS = 65536
    SEARCHED_SLOTS = 256
    NO_SLOT = 0xFFFFFFFF


cdef class Granted:

    def __dealloc__(self):
        free(self.grant.of_model)


cdef class Identities:
    """The known callers, at most `capacity` of them. limiter: holds their budgets.

    rules: matching(source, name) -> tuple of numbers, matching_anonymous() -> tuple or None,
    permits(numbers, model or None) -> Permit bits.
    """

    def __cinit__(self, Limiter limiter not None, rules, uint32_t capacity):
        self.limiter = limiter
        self.rules = rules
        self.capacity = max(capacity, <uint32_t>1)
        self.slot = <Identity *>calloc(self.capacity, sizeof(Identity))
        if self.slot == NULL:
            raise MemoryError
        self.slots = {}
        self.names = []
        self.grants = {}
        self.models = {}
        self.stamps = 1
        self.anonymous.stamp = 1
        self.anonymous.weight = 1
        self.grant_anonymous()

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.taken):
            free(self.slot[i].name)
        free(self.slot)

    cdef uint32_t free_slot(self) noexcept:
        """A slot never used, or that of an identity without references that was not seen lately; NO_SLOT if there is none."""
        cdef Identity *identity
        cdef uint32_t slot
        cdef int _
        if self.taken < self.capacity:
            self.taken += 1
            return self.taken - 1
        for _ in range(SEARCHED_SLOTS):
            slot = self.hand
            self.hand = (self.hand + 1) % self.capacity
            identity = &self.slot[slot]
            if identity.references == 0 and not identity.used:
                return slot
            identity.used = False
        return NO_SLOT

    cdef Identity *of(self, str source, str name) except? NULL:
        cdef Identity *identity
        cdef Granted granted
        cdef bytes text, digest
        cdef uint32_t number
        slot = self.slots.get((source, name))
        if slot is not None:
            return &self.slot[<uint32_t>slot]
        granted = self.granted(self.rules.matching(source, name))
        number = self.free_slot()
        if number == NO_SLOT:
            return NULL
        identity = &self.slot[number]
        if number < len(self.names):
            del self.slots[self.names[number]]
            self.names[number] = source, name
        else:
            self.names.append((source, name))
        self.slots[source, name] = number
        text = header_text(name)
        free(identity.name)
        identity.name_size = 0
        identity.name = <char *>malloc(max(len(text), 1))
        if identity.name != NULL:
            identity.name_size = len(text)
            memcpy(identity.name, <const char *>text, len(text))
        # longer than any address, whose budgets are of the same level; a token named as a key is another identity
        text = source.encode() + b" identity " + name.encode()
        identity.budget = self.limiter.hash(MW_LEVEL_IDENTITY, <const char *>text, len(text))
        # known by a digest, so that no caller finds a name that pays from another's budget
        digest = blake2b(text, digest_size=16).digest()
        identity.shared_key = self.limiter.shared_key(<const char *>digest, len(digest))
        identity.kind = b"certificate" if source == "certificate" else b"key" if source == "key" else b"token"
        text = b"identity " + name.encode()
        identity.sticky = self.limiter.sticky(<const char *>text, len(text))
        identity.grant = &granted.grant
        self.share(number)
        identity.references = 0
        identity.used = True
        self.stamps += 1
        identity.stamp = self.stamps
        return identity

    cdef int share(self, uint32_t number) except -1:
        cdef Identity *identity = &self.slot[number]
        identity.limit, identity.weight, identity.highest, identity.lowest = 0, 1, 0, 0
        if self.shares is not None:
            identity.limit, identity.weight, identity.highest, identity.lowest = self.shares(*self.names[number])
        identity.patterns = 0 if self.patterns is None else self.patterns(*self.names[number])
        return 0

    def set_shares(self, shares not None):
        """What identities have that differs: (source, name) -> number of the limiter's override, weight,
        highest and lowest priority (0: as for all)."""
        cdef uint32_t i
        self.shares = shares
        for i in range(<uint32_t>len(self.names)):
            self.share(i)

    def set_patterns(self, patterns not None):
        """Which policies of detection are for an identity: (source, name) -> bits of their patterns."""
        cdef uint32_t i
        self.patterns = patterns
        for i in range(<uint32_t>len(self.names)):
            self.share(i)

    def revoke(self, str source not None, str name not None):
        """What proved this identity does no longer: cached credentials and open streams end at their next message."""
        slot = self.slots.get((source, name))
        if slot is not None:
            self.stamps += 1
            self.slot[<uint32_t>slot].stamp = self.stamps

    def know(self, Directory directory not None):
        """Numbers the models of a directory, and grants what rules say about those that are new."""
        cdef uint32_t i
        cdef Entry *entry
        before = len(self.models)
        for i in range(directory.count):
            entry = &directory.entries[i]
            name = entry.name.data[:entry.name.size].decode()
            if name not in self.models and len(self.models) < MODEL_NUMBERS:
                self.models[name] = len(self.models)
            entry.number = self.models.get(name, MODEL_NUMBERS)
        if len(self.models) != before:
            for granted in self.grants.values():
                self.compile(granted)

    def replace_rules(self, rules):
        """Every identity is granted what these rules say, from the next message on, also of open streams."""
        cdef Granted granted
        cdef uint32_t i
        old_rules, old_grants = self.rules, self.grants
        self.rules = rules
        self.grants = {}
        try:
            grants = [self.granted(rules.matching(source, name)) for source, name in self.names]
            self.grant_anonymous()
        except BaseException:
            self.rules, self.grants = old_rules, old_grants
            raise
        for i, granted in enumerate(grants):
            self.slot[i].grant = &granted.grant
        # the old grants may go: nothing points into them any more

    def grant_anonymous(self):
        """Anonymous callers have what rules for them say; without one there are none."""
        numbers = self.rules.matching_anonymous()
        if numbers is not None:
            self.anonymous.grant = &self.granted(numbers).grant
            self.anonymous_allowed = True
            return
        # streams of theirs that are open stay bound to it until their next message
        self.anonymous.grant = &self.nothing
        self.anonymous_allowed = False
        self.stamps += 1
        self.anonymous.stamp = self.stamps

    cdef Granted granted(self, object rules):
        cdef Granted granted = self.grants.get(rules)
        if granted is None:
            granted = Granted()
            granted.rules = rules
            self.compile(granted)
            self.grants[rules] = granted
        return granted

    cdef int compile(self, Granted granted) except -1:
        cdef uint32_t count = <uint32_t>len(self.models)
        cdef uint8_t permits
        cdef uint8_t *of_model = <uint8_t *>realloc(granted.grant.of_model, max(count, <uint32_t>1))
        if of_model == NULL:
            raise MemoryError
        granted.grant.of_model = of_model
        granted.grant.of_others = self.rules.permits(granted.rules, None)
        granted.grant.of_any = granted.grant.of_others
        for name, number in self.models.items():
            permits = self.rules.permits(granted.rules, name)
            of_model[<uint32_t>number] = permits
            granted.grant.of_any |= permits
        granted.grant.models = count
        return 0


cdef bytes header_text(str name):
    """As a header may carry it: everything but printable ASCII, and % itself, percent-encoded."""
    return b"".join(bytes((b,)) if 32 < b < 127 and b != 37 else b"%%%02X" % b for b in name.encode())
