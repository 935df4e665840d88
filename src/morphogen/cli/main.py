"""`morphogen`: the verbs, and what happens when one fails.

Exit status: 0 done, 1 the work failed, 2 wrong usage, 141 (128 + SIGPIPE) where whoever read the output has gone. A
failure is one paragraph on standard error; `--debug`, anywhere on the line, shows the traceback too. Nothing heavy is
imported before a verb needs it, so that help and wrong usage answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.main import get_command

from morphogen import MorphogenError, MorphogenWarning, UsageError, __version__
from morphogen.cli.config_file import expanded
from morphogen.cli.console import print_error, print_text
from morphogen.cli.options import checked
from morphogen.cli.verbs.explain import attention, chain, directions, levels, manifold, variances
from morphogen.cli.verbs.judge import alignment, audit, check, evaluate, evaluate_molecules, evaluate_samples
from morphogen.cli.verbs.keep import archive, curves, export, recall, show, verify, watch
from morphogen.cli.verbs.make import families, inspect, quantize, quickstart, suggest, train
from morphogen.cli.verbs.use import (
    complete,
    compress,
    decompress,
    design,
    detect,
    draw,
    edit,
    edit_latent,
    impute,
    interpolate,
    reconstruct,
    restore,
    sample,
    synthesize,
    upscale,
    walk,
)

CLOSED = 141
_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|can't allocate memory|CUDA out of memory|Cannot allocate memory")

app = typer.Typer(
    name="morphogen",
    help="Train generative models on your own data, use them, and answer for them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(no_args_is_help=True)
VERBS: Mapping[str, Sequence[ModuleType]] = {
    "Make": (quickstart, suggest, families, train, quantize),
    "Use": (
        sample,
        draw,
        reconstruct,
        interpolate,
        walk,
        edit,
        edit_latent,
        upscale,
        restore,
        design,
        complete,
        detect,
        compress,
        decompress,
        synthesize,
        impute,
    ),
    "Explain": (attention, levels, manifold, directions, chain, variances),
    "Judge": (evaluate, evaluate_samples, evaluate_molecules, alignment, audit, check),
    "Keep": (show, watch, curves, verify, export, recall, archive),
}


def _add(to: typer.Typer, module: ModuleType, panel: str | None = None) -> None:
    """The verb of a module, which has its name, and an example below its help."""
    name = module.__name__.rpartition(".")[2]
    own = module is train  # whose further flags are those of the family, and whose numbers are the recipe's
    to.command(
        name.replace("_", "-"),
        rich_help_panel=panel,
        epilog=f"Example: {module.EXAMPLE}",
        context_settings={"allow_extra_args": own, "ignore_unknown_options": own},
    )(checked(getattr(module, name), numbers=not own))


for panel, modules in VERBS.items():
    for module in modules:
        _add(app, module, panel)
    if panel == "Make":
        _add(data, inspect)
        app.add_typer(data, name="data", help="Look at data.", rich_help_panel=panel)


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"morphogen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure; anywhere.")] = False,
) -> None:
    pass  # --debug is read by `run`, which needs it when nothing else could be parsed


@cache
def parser() -> Any:
    """What reads a command line, made once."""
    return get_command(app)


def main() -> None:
    """The entry point of the `morphogen` command."""
    out, err = sys.stdout, sys.stderr
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    failed = _flush(out)
    _flush(err)  # what could not be said is no failure of the work
    sys.exit(status or failed)


def _flush(stream: Any) -> int:
    """Write out what waits in a stream of ours, or forget it, so that the interpreter does not try again; a status."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return CLOSED if isinstance(error, BrokenPipeError) else 1
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    debug = "--debug" in arguments
    warnings.simplefilter("ignore", MorphogenWarning)  # verbs print them with their results
    try:
        words = expanded([a for a in arguments if a != "--debug"])
        status = parser()(words, prog_name="morphogen", standalone_mode=False)
        if status == 130:  # what typer makes of Ctrl-C
            return _failed("stopped before the work was done.", 1, debug=False)
        return int(status or 0)
    except UsageError as error:
        return _failed(str(error), 2, debug)
    except MorphogenError as error:
        return _failed(str(error), 1, debug)
    except typer.TyperException as error:
        if not error.format_message():  # no verb was given: the help that was shown says it all
            return error.exit_code
        context = getattr(error, "ctx", None)
        hint = f" Try `{context.command_path} --help`." if context is not None else ""
        message = error.format_message()
        stop = "" if message.endswith((".", "?", ")")) else "."
        return _failed(message + stop + hint, error.exit_code, debug)
    except (BrokenPipeError, SystemExit):  # typer and rich exit where whoever read the output has gone
        return CLOSED
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of `os.getcwd`
            return _failed("the working directory does not exist any more: change into one that does.", 1, debug)
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror or error}{where}.", 1, debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(reason):
            return _failed("there is not enough memory for this: ask for fewer or smaller records at once.", 1, debug)
        return _failed(f"this is a fault in morphogen: {reason}. Add --debug to see where it arose.", 1, debug)


def _failed(message: str, status: int, debug: bool) -> int:
    if debug:
        print_error(traceback.format_exc())
    print_error(f"Error: {message}")
    return status
