# How long names may be.

cdef enum:
    LONGEST_NAME = 128            # bytes, of a model's
    LONGEST_VERSION = 64          # and of a shadow's; an upstream's model, which no request names by it, may have longer ones
