"""A real server follows every file of ConfigMaps and Secrets, changed as the kubelet changes them."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
import yaml

from tests import models
from tests.certificates import credentials
from tests.commands import modelward
from tests.e2e.messages import INFER, REQUEST, RESPONSE, Stub, arrays, request
from tests.e2e.test_access import OK, PERMISSION_DENIED, UNAUTHENTICATED, bearer, infer_on
from tests.kubelet import Volume
from tests.proxy.sealing.support import new_key, sealed
from tests.signing import keys, signed
from tests.support import ServerProcess, serve_process, wait_until
from tests.tokens import AUDIENCE, ISSUER, Issuer

X = np.zeros((1, 4), np.float32)
HOST = "127.0.0.1"


def secret(issued: trustme.LeafCert, clients: trustme.CA) -> dict[str, bytes]:
    """Of type kubernetes.io/tls, with an authority."""
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes(), "ca.crt": clients.cert_pem.bytes()}


def key_file(folder: Path, *names: str) -> tuple[str, list[str]]:
    """A file of API keys, and the keys."""
    file = folder / "new.json"
    file.unlink(missing_ok=True)
    made = [modelward("token", "add", name, "--file", file).stdout.split()[-1] for name in names]
    return file.read_text(), made


class Pod:
    """A server whose every file lies in a volume, and its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server_authority, self.clients = trustme.CA(), trustme.CA()
        self.client = self.clients.issue_cert("client.example")
        self.issuer = Issuer()
        self.issuer.add_key("one")
        content, (self.key,) = key_file(folder, "shop")
        self.keys = Volume(folder / "keys", {"keys.json": content})
        self.tls = Volume(folder / "tls", secret(self.server_authority.issue_cert(HOST), self.clients))
        self.jwks = Volume(folder / "issuer", {"jwks": json.dumps(self.issuer.key_set())})
        self.models = Volume(folder / "models", {"add/1/model.onnx": models.add_one()})
        self.config = Volume(folder / "config", {"modelward.yaml": self.configured()})
        self.server: ServerProcess

    def configured(self, **more: Any) -> str:
        tls = {"certificate": self.tls / "tls.crt", "key": self.tls / "tls.key", "client_ca": self.tls / "ca.crt"}
        jwt = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(self.jwks / "jwks")}
        access = {"keys": str(self.keys / "keys.json"), "jwt": jwt, "rules": [self.rule()]}
        whole = {"repository": str(self.models.folder), "tls": {k: str(v) for k, v in tls.items()}, "access": access}
        return yaml.safe_dump(whole | more)

    def rule(self, *models: str) -> dict[str, Any]:
        return {"identity": "*", "by": "any", "models": [*(models or ("add",))]}

    def ask(self, key: str = "", token: str = "", **shown: Any) -> tuple[grpc.StatusCode, str]:
        """With a new connection."""
        metadata = bearer(token) if token else (("x-api-key", key or self.key),)
        trusted = credentials(self.server_authority, shown.get("certificate", self.client))
        with grpc.secure_channel(self.server.grpc, trusted) as channel:
            return infer_on(channel, metadata)

    def version(self) -> str:
        trusted = credentials(self.server_authority, self.client)
        with grpc.secure_channel(self.server.grpc, trusted) as channel:
            call = channel.unary_unary(INFER, REQUEST.SerializeToString, RESPONSE.FromString)
            return str(call(request("add", {"x": X}), metadata=(("x-api-key", self.key),)).model_version)

    def certificate(self) -> bytes:
        """What the server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, _, port = self.server.grpc.rpartition(":")
        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True) or b""


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    with serve_process("--config", pod.config / "modelward.yaml") as pod.server:
        assert pod.ask() == (OK, "")
        yield pod


def test_the_configuration(pod: Pod) -> None:
    access = yaml.safe_load(pod.configured())["access"]
    other = pod.configured(access=access | {"rules": [pod.rule("ranking")]})
    pod.config.write({"modelward.yaml": other})
    wait_until(lambda: pod.ask()[0] == PERMISSION_DENIED, "the rule of another ConfigMap")
    pod.config.write({"modelward.yaml": pod.configured()})
    wait_until(lambda: pod.ask()[0] == OK, "the rule of the first")


def test_a_renewed_certificate_and_the_authority_of_clients(pod: Pod) -> None:
    before, others = pod.certificate(), trustme.CA()
    pod.tls.write(secret(pod.server_authority.issue_cert(HOST), others))
    wait_until(lambda: pod.certificate() != before, "the new certificate")
    assert pod.ask(certificate=others.issue_cert("client.example")) == (OK, "")
    assert pod.ask()[0] == grpc.StatusCode.UNAVAILABLE, "an authority that was taken out"
    pod.tls.write(secret(pod.server_authority.issue_cert(HOST), pod.clients))
    wait_until(lambda: pod.ask()[0] == OK, "the first authority again")
    assert not any("the old certificate stays" in line for line in pod.server.output)


def test_api_keys(pod: Pod) -> None:
    content, (other,) = key_file(pod.folder, "shop")
    assert pod.ask(other)[0] == UNAUTHENTICATED
    old, _ = (pod.keys / "keys.json").read_text(), pod.keys.write({"keys.json": content})
    wait_until(lambda: pod.ask(other)[0] == OK, "the new key")
    assert pod.ask()[0] == UNAUTHENTICATED
    pod.keys.write({"keys.json": old})
    wait_until(lambda: pod.ask()[0] == OK, "the old key again")


def test_the_keys_of_tokens(pod: Pod) -> None:
    pod.issuer.add_key("two")
    token = pod.issuer.token("shop", kid="two")
    assert pod.ask(token=token)[0] == UNAUTHENTICATED
    pod.jwks.write({"jwks": json.dumps(pod.issuer.key_set())})
    wait_until(lambda: pod.ask(token=token)[0] == OK, "the new key")


def test_models(pod: Pod) -> None:
    pod.models.write({"add/1/model.onnx": models.add_one(), "add/2/model.onnx": models.identity()})
    wait_until(lambda: pod.version() == "2", "the new version")
    pod.models.write({"add/1/model.onnx": models.add_one()})
    wait_until(lambda: pod.version() == "1", "the old one again")


@contextlib.contextmanager
def serving(folder: Path, **config: Any) -> Iterator[ServerProcess]:
    volume = Volume(folder, {"modelward.yaml": yaml.safe_dump(config)})
    with serve_process("--config", volume / "modelward.yaml") as server:
        yield server


def answers(server: ServerProcess, model: str) -> bool:
    with Stub(server.grpc) as stub:
        try:
            return bool((arrays(stub.infer(request(model, {"x": X})))["y"] == X + 1).all())
        except grpc.RpcError:
            return False


def test_keys_of_signers_and_of_sealed_models(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {each: models.add_one() for each in ("signed", "secret", "add")})
    right, wrong = keys(tmp_path, 0), keys(tmp_path, 1)
    signed(root / "signed/1/model.onnx", right)
    identity, recipient = new_key()
    file = root / "secret/1/model.onnx"
    file.write_bytes(sealed(file.read_bytes(), recipient))
    signers = Volume(tmp_path / "signers", {"release.pem": wrong.public.read_bytes()})
    identities = Volume(tmp_path / "identities", {"model.key": new_key()[0]})
    config = {
        "repository": str(root),
        "integrity": {"require": "off", "keys": {"release": str(signers / "release.pem")}},
        "sealing": {"identities": [{"file": str(identities / "model.key")}]},
        "models": {"signed": {"integrity": {"require": True}}},
    }
    with serving(tmp_path / "config", **config) as server:
        assert answers(server, "add") and not answers(server, "signed") and not answers(server, "secret")
        # one after the other, and at once: what was read a moment ago is read again
        signers.write({"release.pem": right.public.read_bytes()})
        wait_until(lambda: answers(server, "signed"), "the signer's key")
        identities.write({"model.key": identity})
        wait_until(lambda: answers(server, "secret"), "the key of sealed models")


def test_the_canary_of_an_upstreams_model(tmp_path: Path) -> None:
    def canary(**arrays: Mapping[str, Any]) -> bytes:
        np.savez(tmp_path / "made.npz", **arrays)
        return (tmp_path / "made.npz").read_bytes()

    right, wrong = canary(**{"input:x": X, "output:y": X + 1}), canary(**{"input:x": X, "output:y": X + 2})
    root = models.repository(tmp_path / "models", {"add": models.add_one()})
    volume = Volume(tmp_path / "canaries", {"add.npz": right})
    with serving(tmp_path / "up", repository=str(root)) as upstream:
        add = {"upstreams": [upstream.grpc], "canary": {"file": str(volume / "add.npz"), "interval": "100ms"}}
        with serving(tmp_path / "config", models={"add": add}) as server:
            wait_until(lambda: answers(server, "add"), "the model")
            volume.write({"add.npz": wrong})
            wait_until(lambda: not answers(server, "add"), "a canary that fails")
            volume.write({"add.npz": right})
            wait_until(lambda: answers(server, "add"), "the first canary")
