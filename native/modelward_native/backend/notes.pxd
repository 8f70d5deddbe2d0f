# What a process runs, noted where its supervisor finds it should the process die of it.
from modelward_native.region.region cimport Region
from modelward_native.backend.note cimport mw_death, mw_note

# A note of this process for runs of a version; NULL where the region is this process's alone, or (the log says so) full.
# loading: of a load or a canary, where the digest is that of both.
cdef mw_note *take_note(Region region, str name, str version, str digest, bint loading=*) except? NULL
cdef void drop_note(mw_note *note) noexcept
# Where this process notes what it dies of in a pool's thread.
cdef mw_death *death_note(Region region) except NULL
