"""The digest of a version: one value for all the files that it consists of.

It is the root digest of OpenSSF Model Signing (OMS 1.0, section 6.5.1): SHA-256 over the digests of the files, in the
order of their names. So a signature names the same value as `status` does.
"""

import hashlib
from collections.abc import Mapping


def root_digest(files: Mapping[str, str]) -> str:
    """`sha256:` and hexadecimal digits. files: the digest of each, hexadecimal, by its name in the version's folder."""
    root = hashlib.sha256()
    for name in sorted(files):
        root.update(bytes.fromhex(files[name]))
    return f"sha256:{root.hexdigest()}"
