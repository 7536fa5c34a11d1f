"""The command line: every sub-command and option, and which module carries it out.

Nothing heavy is imported here, so that `edged stdio` starts in a few hundredths of a second.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable

from edged import __version__
from edged.cli import auditparser, keyparser, mqttparser
from edged.errors import BadConfig, EdgedError

DEFAULT_CONFIG = "/etc/edged/edged.toml"
CONNECT_HELP = f"""\
The daemon is found by --socket, else $EDGED_SOCKET, else [paths] run in --config
(default {DEFAULT_CONFIG}), else /run/edged/mcp.sock."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; exit codes: 0 done, 1 failed or refused, 2 wrong usage or config, 130 interrupted."""
    arguments = parser().parse_args(argv)
    module, _, function = arguments.run.partition(":")
    try:
        command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
        return command(arguments)
    except BadConfig as exc:
        print(exc.message, file=sys.stderr)
        return 2
    except EdgedError as exc:
        print(f"edged: {exc.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output is gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """Build the whole command line."""
    top = argparse.ArgumentParser(
        prog="edged",
        description="Inference over MCP on this board: run the daemon, and talk to it.",
        epilog=CONNECT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edged {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _daemon(commands)
    _client(commands)
    _models(commands)
    _resources(commands)
    _prompts(commands)
    _kernels(commands)
    _hardware(commands)
    keyparser.keys(commands)
    keyparser.enrol(commands)
    keyparser.attest(commands)
    auditparser.audit(commands)
    mqttparser.mqtt(commands)
    _watching(commands)
    return top


def _daemon(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.add_argument("--config", default=None, metavar="FILE", help=f"default {DEFAULT_CONFIG}, if it exists")
    run.set_defaults(run="edged.cli.run:run")
    check = commands.add_parser("check-config", help="name every problem of a config, with path and line")
    check.add_argument("file", nargs="?", default=DEFAULT_CONFIG, metavar="FILE")
    check.add_argument(
        "--defaults", action="store_true", help="print every setting, its default and its reason"
    )
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    check.set_defaults(run="edged.cli.run:check_config")


def _client(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="show how the device is")
    status.set_defaults(run="edged.cli.call:status")
    call = commands.add_parser(
        "call",
        help="call a tool",
        description="Call a tool and print its answer. `edged call` with no tool lists them.",
    )
    call.add_argument("tool", nargs="?", metavar="TOOL", help="for example infer_face, device_status")
    call.add_argument("--image", metavar="FILE", help="JPEG, PNG, WebP, BMP or GIF to send as $.image")
    call.add_argument("--audio", metavar="FILE", help="WAV to send as $.audio")
    call.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any argument; VALUE as JSON, else text",
    )
    call.add_argument("--save", metavar="FILE", help="write the annotated picture here (PNG)")
    call.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default 60)")
    call.set_defaults(run="edged.cli.call:call")
    stdio = commands.add_parser(
        "stdio", help="connect standard input and output to the daemon, for MCP hosts"
    )
    stdio.set_defaults(run="edged.cli.connection:stdio")
    for command in (status, call):
        _connection(command, table=True)
        mqttparser.across(command)
    _connection(stdio, table=False)


def _models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("models", help="install, serve and remove models")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list every installed version")
    add = actions.add_parser("add", help="install a version from a folder with a manifest.toml")
    add.add_argument("folder", metavar="FOLDER")
    add.add_argument("--activate", action="store_true", help="serve it at once")
    show = actions.add_parser("show", help="show one model")
    activate = actions.add_parser("activate", help="serve an installed version")
    rollback = actions.add_parser("rollback", help="serve the previous version again")
    remove = actions.add_parser("rm", help="delete a version, or the whole model")
    for action in (show, activate, rollback, remove):
        action.add_argument("name", metavar="NAME")
    activate.add_argument("version", metavar="VERSION")
    remove.add_argument("version", nargs="?", metavar="VERSION")
    handlers = {
        ls: "ls",
        add: "add",
        show: "show_one",
        activate: "activate",
        rollback: "rollback",
        remove: "remove",
    }
    for action, function in handlers.items():
        action.set_defaults(run=f"edged.cli.models:{function}")
        _connection(action, table=True)


def _resources(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("resources", help="read what the device says of itself and its models")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list what can be read")
    read = actions.add_parser("read", help="print what a resource holds")
    read.add_argument("uri", metavar="URI", help="for example edged://device, edged://models/face")
    for action in (ls, read):
        action.set_defaults(run=f"edged.cli.resources:{'ls' if action is ls else 'read'}")
        _connection(action, table=True)
        mqttparser.across(action)


def _prompts(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "prompts", help="what to do when it is slow, hot or failing, or to try a model"
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls = actions.add_parser("ls", help="list the prompts and their arguments")
    get = actions.add_parser("get", help="print one, made from the device's state now")
    get.add_argument("name", metavar="NAME", help="for example diagnose_slow, try_model")
    get.add_argument(
        "--arg", action="append", default=[], metavar="NAME=VALUE", help="an argument, for example model=face"
    )
    for action in (ls, get):
        action.set_defaults(run=f"edged.cli.prompts:{'ls' if action is ls else 'get'}")
        _connection(action, table=True)
        mqttparser.across(action)


def _kernels(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("kernels", help="compile the preprocessing kernels for this CPU")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="compile now (needs numba and a linker)")
    show = actions.add_parser("status", help="say which backend the daemon would use, and why")
    for action in (build, show):
        action.add_argument("--config", default=None, metavar="FILE")
        action.add_argument(
            "--cache",
            default=None,
            metavar="DIR",
            help="default: kernels in $CACHE_DIRECTORY or [paths] cache",
        )
        action.add_argument("--json", action="store_true", help="print as JSON")
        action.set_defaults(run=f"edged.cli.kernels:{'build' if action is build else 'status'}")


def _hardware(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("hardware", help="say which board this is and what its sensors read")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    profile = actions.add_parser("show", help="show the board's profile, why it was matched, and its sources")
    profile.add_argument("--all", action="store_true", help="list every profile and overlay")
    probe = actions.add_parser("probe", help="read every sensor once and say what it means for the limits")
    for action in (profile, probe):
        action.add_argument("--config", default=None, metavar="FILE", help="the config to find [power] in")
        action.add_argument("--json", action="store_true", help="print as JSON")
        action.set_defaults(run=f"edged.cli.hardware:{'show' if action is profile else 'probe'}")


def _watching(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    top = commands.add_parser("top", help="watch the device: heat, battery, limits, queues, latency")
    top.add_argument("--once", action="store_true", help="print one frame and end")
    top.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="between two frames (default 1)"
    )
    top.set_defaults(run="edged.cli.top:top")
    why = commands.add_parser("why", help="say in words why it is slow, hot or failing")
    why.add_argument("model", nargs="?", metavar="MODEL", help="only this model (default: all)")
    why.set_defaults(run="edged.cli.why:why")
    for command in (top, why):
        _connection(command, table=True)
        mqttparser.across(command)


def _connection(command: argparse.ArgumentParser, *, table: bool) -> None:
    command.add_argument("--socket", default=None, metavar="PATH", help="the daemon's MCP socket")
    command.add_argument("--config", default=None, metavar="FILE", help="the config to find the socket in")
    if table:
        command.add_argument("--json", action="store_true", help="print the structured answer as JSON")
