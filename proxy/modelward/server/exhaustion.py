"""What the system says when it has no descriptors or memory left for another connection."""

import errno

OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
