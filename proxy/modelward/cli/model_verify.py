"""`modelward model verify`: whether the files of a version are those that a trusted signer has signed."""

import argparse
from pathlib import Path

from modelward.cli.model_show import as_it_lies, describe, print_version
from modelward.config.integrity import Integrity, ModelTrust, SigningCertificates, Sigstore, SigstoreIdentity
from modelward.config.load import load
from modelward.integrity.bundle import LARGEST
from modelward.integrity.locate import model_file
from modelward.integrity.naming import name_by_path, name_of, names_version
from modelward.integrity.signature import Verdict, Verdicts
from modelward.integrity.trust import load_trust
from modelward.integrity.version_files import VersionFiles, signature_file
from modelward.problem import WrongUsage
from modelward.repository.files import read_inside

SUMMARY = "verify the signature of a version"
DESCRIPTION = (
    "Verifies that the files of a version are those that were signed, and that their signer is trusted: as serve does "
    "with integrity.require: true. Asks no network."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the version, or file of the model")
    parser.add_argument("--config", type=Path, metavar="FILE", help="trust the signers of its section `integrity`")
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="the model it is to be served as; with --config, whose own signers then count; absent: as the path says",
    )
    parser.add_argument(
        "--key", type=Path, action="append", default=[], metavar="PUBLIC.pem", help="trust this public key; repeatable"
    )
    parser.add_argument("--ca", type=Path, metavar="CA.pem", help="trust certificates of this authority")
    parser.add_argument(
        "--trust-root", type=Path, metavar="FILE.json", help="trust Sigstore bundles of the instance of this root"
    )
    parser.add_argument(
        "--identity",
        action="append",
        default=[],
        metavar="NAME",
        help="name that the signer's certificate must have; repeatable, * stands for any characters with --ca",
    )
    parser.add_argument("--issuer", metavar="URL", help="with --trust-root: who vouched for the identity")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 where the version is signed by a trusted signer, 1 where it is not."""
    settings, trust = _settings(arguments)
    file = model_file(arguments.path)
    signature = signature_file(file)
    verdict: Verdict | None = None
    if signature.exists():
        bundle = read_inside(file.parent, signature, LARGEST)
        (verdict,) = Verdicts().of([bundle], load_trust(settings))
    files = VersionFiles(file.parent, file, as_it_lies, trust, verdict, name=_name(arguments))
    print_version(describe(file, files), arguments.json)
    return 0


def _name(arguments: argparse.Namespace) -> str:
    """MODEL/VERSION that it would be served as, "" where that is not known."""
    found = name_by_path(arguments.path)
    if arguments.model:
        found = name_of(arguments.model, found.rpartition("/")[2])
    return found if names_version(found) else ""


def _settings(arguments: argparse.Namespace) -> tuple[Integrity, ModelTrust]:
    if arguments.config is not None:
        config = load(arguments.config, again=True)
        if config.integrity is None:
            raise WrongUsage(
                f"{arguments.config} has no section integrity: name a signer with --key, --ca or --trust-root"
            )
        return config.integrity, ModelTrust(True, config.trust(arguments.model).signers, config.integrity.names)
    if not (arguments.key or arguments.ca or arguments.trust_root):
        raise WrongUsage("name whom to trust: --key PUBLIC.pem, --ca CA.pem, --trust-root FILE.json, or --config FILE")
    if (arguments.ca or arguments.trust_root) and not arguments.identity:
        raise WrongUsage("name who may sign: --identity NAME")
    if bool(arguments.trust_root) != bool(arguments.issuer):
        raise WrongUsage("--trust-root and --issuer belong together")
    names = tuple(arguments.identity)
    identities = tuple(SigstoreIdentity(identity=name, issuer=arguments.issuer or "-") for name in names)
    settings = Integrity(
        keys={str(key): key for key in arguments.key},
        certificates=SigningCertificates(ca=arguments.ca, identities=names) if arguments.ca else None,
        sigstore=Sigstore(trust_root=arguments.trust_root, identities=identities) if arguments.trust_root else None,
    )
    return settings, ModelTrust(True)
