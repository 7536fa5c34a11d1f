"""The command line of `edged keys` and `edged enrol`."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
TPM = ("required", "preferred", "off")
TLS = ("tpm-native", "tpm-sealed", "file")


def keys(commands: Commands[argparse.ArgumentParser]) -> None:
    """`edged keys`."""
    group = commands.add_parser("keys", help="make, prove, rotate and recover the device's keys")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make the keys, or move them into a TPM that is there now")
    init.add_argument(
        "--tpm", choices=TPM, default=None, help="default: [keys] tpm; it is kept with the keys"
    )
    init.add_argument("--recovery-key", metavar="PEM", help="public key (P-256) of an offline recovery key")
    init.add_argument(
        "--forget",
        action="store_true",
        help="give up the device that was here: nothing it sealed opens again",
    )
    status = actions.add_parser("status", help="say what protects the keys and what should be done about it")
    public = actions.add_parser(
        "public", help="print the public key that verifies what the device signed, as its audit log"
    )
    rotate = actions.add_parser("rotate", help="make a new root secret and encrypt every file again")
    rotate.add_argument(
        "--retire", action="store_true", help="give up the old one: nothing else it sealed opens again"
    )
    drill = actions.add_parser("drill", help="prove that the recovery key opens everything")
    recover = actions.add_parser(
        "recover", help="bring the data under this board's keys after its TPM or board is gone"
    )
    export = actions.add_parser(
        "export", help="put the device's state into one file, encrypted to the recovery key"
    )
    restore = actions.add_parser("restore", help="lay an export out on a blank board")
    seal = actions.add_parser("seal", help="encrypt a secret of the config, such as the broker's password")
    seal.add_argument("file", metavar="FILE", help="with the secret; - is standard input")
    unseal = actions.add_parser("unseal", help="print a secret of the config that was sealed")
    for action in (seal, unseal):
        action.add_argument("name", metavar="NAME", help="what it is called: letters, digits, - and _")
    for action in (export, restore):
        action.add_argument("file", metavar="FILE")
    for action in (drill, recover, restore):
        action.add_argument(
            "--key", required=True, metavar="PEM", help="the recovery key itself; - is standard input"
        )
    for action in (recover, restore):
        action.add_argument("--weaker", action="store_true", help="allow a weaker protection than before")
    for action, function in {
        init: "init", status: "status", public: "public", rotate: "rotate", drill: "drill",
        recover: "recover", export: "export", restore: "restore", seal: "seal", unseal: "unseal",
    }.items():  # fmt: skip
        _common(action, f"edged.cli.keys:{function}")


def enrol(commands: Commands[argparse.ArgumentParser]) -> None:
    """`edged enrol`."""
    group = commands.add_parser("enrol", help="say whom the device believes, and get its certificate")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    begin = actions.add_parser(
        "begin", help="take trust anchors and authorities, and write a certificate request"
    )
    begin.add_argument("--device", required=True, metavar="NAME", help="its name in the fleet and in topics")
    begin.add_argument(
        "--anchor",
        required=True,
        action="append",
        metavar="FILE",
        help="a key of the fleet: PEM or COSE_Key; again for more",
    )
    begin.add_argument(
        "--broker-ca", required=True, metavar="PEM", help="whom the broker's certificate comes from"
    )
    begin.add_argument("--device-ca", metavar="PEM", help="whom this device's comes from (default: the same)")
    begin.add_argument("--recovery-key", metavar="PEM", help="public key (P-256) of an offline recovery key")
    finish = actions.add_parser(
        "finish", help="take the certificate; the first time, the device is enrolled by it"
    )
    finish.add_argument("certificate", metavar="PEM", help="with its intermediates; - is standard input")
    renew = actions.add_parser(
        "renew", help="write a request with a new key; the present certificate goes on"
    )
    for action in (begin, renew):
        action.add_argument("--tls-key", choices=TLS, default=None, help="default: [keys] tls_key")
        action.add_argument(
            "--into", default=".", metavar="DIR", help="where to write device.csr and device.cose"
        )
    anchors = actions.add_parser(
        "anchors", help="replace the trust anchors, as one of the present ones signed"
    )
    anchors.add_argument("file", metavar="FILE")
    show = actions.add_parser("show", help="print what is enrolled, with fingerprints")
    for action, function in {
        begin: "begin",
        finish: "finish",
        renew: "renew",
        anchors: "anchors",
        show: "show",
    }.items():
        _common(action, f"edged.cli.enrol:{function}")


def attest(commands: Commands[argparse.ArgumentParser]) -> None:
    """`edged attest`."""
    group = commands.add_parser("attest", help="prove how this device booted, and judge such a proof")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    key = actions.add_parser("key", help="print the key that signs this device's evidence")
    quote = actions.add_parser("quote", help="write evidence for a verifier's nonce")
    quote.add_argument("--out", default="evidence.cbor", metavar="FILE")
    verify = actions.add_parser("verify", help="judge evidence: on any machine, without a TPM")
    verify.add_argument("evidence", metavar="FILE")
    verify.add_argument("--key", required=True, metavar="PEM", help="the device's attestation key")
    verify.add_argument("--anchor", metavar="HEX", help="the audit log's anchor as published (default: any)")
    for action in (quote, verify):
        action.add_argument(
            "--nonce", required=True, metavar="HEX", help="drawn by the verifier: 16 to 32 bytes"
        )
        action.add_argument("--no-anchor", action="store_true", help="leave out the audit log's anchor")
    approve = actions.add_parser("approve", help="sign a measured state in which keys may open")
    approve.add_argument("--key", required=True, metavar="PEM", help="the approver's private key")
    approve.add_argument("--out", required=True, metavar="FILE")
    for action in (quote, verify, approve):
        action.add_argument(
            "--pcr", action="append", default=[], metavar="N[=HEX]", help="a register, and its value"
        )
    for action, function in {key: "key", quote: "quote", verify: "verify", approve: "approve"}.items():
        _common(action, f"edged.cli.attest:{function}")


def _common(action: argparse.ArgumentParser, run: str) -> None:
    action.add_argument("--config", default=None, metavar="FILE")
    action.add_argument("--state", default=None, metavar="DIR", help="default: [paths] state")
    action.add_argument("--json", action="store_true", help="print as JSON")
    action.set_defaults(run=run)
