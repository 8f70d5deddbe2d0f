# Callers by name, and what they may: what a stream and a connection keep of it. access.identities owns all of it.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum Permit:                 # kinds of methods, as bits; what is open to everybody needs none
    PERMIT_INFER = 1
    PERMIT_STREAM = 2
    PERMIT_METADATA = 4
    PERMIT_STATISTICS = 8
    PERMIT_REPOSITORY = 16
    PERMIT_PASSTHROUGH = 32
    PERMIT_SHADOW = 64            # to mark requests as a shadow's copies

cdef enum:
    NOT_SERVED = 0x7fffffff       # in place of a model's number: no model of that name is served
    NOT_READ = 0x7ffffffe         # the name cannot be read

cdef struct Grant:                # what callers whom the same rules match may do; shared by them
    uint8_t *of_model             # owned: Permits by the model's number
    uint32_t models               # numbers that of_model has room for
    uint8_t of_others             # of names that are not served: only rules for all models count
    uint8_t of_any                # what is allowed for at least one model: for methods that name none

cdef struct Identity:             # a verified caller; another may take its slot when nothing refers to it
    uint64_t budget               # key of its rate limit: of the name and the kind of what proved it
    const char *kind              # static: how it was proved, as an upstream is told it; NULL for anonymous callers
    uint64_t shared_key           # the same in all servers that share limits: modelward_native.limits.limit.Payers
    uint64_t sticky               # hash of the name, for the choice of a version; 0 for anonymous callers
    Grant *grant                  # borrowed from Identities; never NULL where the slot is taken, or of the anonymous one
    char *name                    # owned; as an upstream is told it; NULL for anonymous callers
    size_t name_size
    uint32_t stamp                # another one each time that the slot is given away or what proved it is revoked
    uint32_t references           # streams that are open, and connections whose certificate it is
    bint used                     # since the table last looked for a slot to give away
    uint8_t highest               # priority that its requests may ask for, 1 the highest; 0: as every identity's
    uint8_t lowest
    uint8_t weight                # of its share of a backend
    uint64_t patterns             # of modelward_native.detect.policy that fit it, as bits
    uint32_t limit                # its own, or 0: modelward_native.limits.limit.Payers


cdef inline bint may(const Identity *i, uint32_t model, uint8_t permits) noexcept:
    return model < i.grant.models and (i.grant.of_model[model] & permits) == permits
