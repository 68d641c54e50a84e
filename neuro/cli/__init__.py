"""The command line: one thin file per command. Exit status: 0, 2 for input that cannot be used, 1 for a fault.

Commands are imported only when they are called, so `neuro --help` waits neither for torch nor for anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from hardware_models.errors import InputError, RunError, unknown_name

COMMANDS = {
    "convert": "convert a network into its spiking or low-bit variant; train or calibrate, measure and cost it",
    "train": "train one network from a recipe: spiking, float or of low bits, on one process or many",
    "eval": "how good a trained network is: over time, with early exit, on corrupted images, by class, at what cost",
    "push": "pack a trained network into a folder with a card, to be shared and used as hub:PATH",
    "audit": "what became of every operator of a converted network",
    "energy": "what a run, a workload or a model costs on chips, or under a named convention",
    "chips": "the chips that costs can be estimated for; show one, check one of your own",
    "study": "search networks, algorithms and chips together; the front of what they cost",
    "validate": "how wrong the hardware models are, against silicon and other simulators",
    "export": "write a low-bit network as QONNX, QCDQ, a torch.export program, packed or as safetensors",
    "report": "make the report of a run again: an HTML page, Markdown, CSV or JSON",
    "bench": "how fast the kernels are beside their peers on this machine",
    "models": "list the architectures and their variants",
    "recipes": "list the recipes of low-bit variants; show one",
    "data": "list the data sets and where they are",
}

DESCRIPTION = """\
Turn a network into a spike-driven or low-bit variant, train it, run it while measuring
every spike, and say what it costs.

commands:
{commands}

examples:
  neuro convert --model spikeformer_v2 --timesteps 4       train and measure on real digits, two minutes
  neuro convert --variant 15m --data folder:PHOTOS --epochs 0     only convert and measure, at 224x224
  neuro convert --model timm:deit_tiny_patch16_224 --timesteps 16  any other network, without training
  neuro convert --model timm:resnet18 --to w4a4             its 4-bit variant
  neuro energy RUN --chip default                          the same run on chips of both worlds
  neuro energy RUN --convention spikingformer              the same run, as another paper would count it
  neuro report RUN --format markdown                       its tables, to paste

`neuro COMMAND --help` explains a command. Exit status: 0; 2 for input that cannot be used; 1 for a fault
while running. --debug shows the traceback of an error."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    with _collecting_interrupts() as interrupts:
        return _run([a for a in given if a != "--debug"], debug, interrupts)


def entry_point() -> NoReturn:
    """Run the command line and exit with its status."""
    _speak_plainly_without_unicode()
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt
    sys.exit(status)


def _speak_plainly_without_unicode() -> None:
    """Only where it is needed, for it imports rich."""
    if any(not (stream.encoding or "").lower().startswith("utf") for stream in (sys.stdout, sys.stderr)):
        from neuro.cli.terminal import speak_plainly

        speak_plainly()


def _run(given: list[str], debug: bool, interrupts: list[int]) -> int:
    try:
        status = _dispatch(given)
        print(end="", flush=True)  # a reader who has left, or a full disk, is noticed here
        return status
    except InputError as error:
        return _complain(str(error), 2, debug)
    except RunError as error:
        return _complain(str(error), 1, debug)
    except KeyboardInterrupt as error:
        return _complain(_describe_interrupt(error), 1, debug)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        describe = _describe_interrupt if interrupts else _describe_fault
        return _complain(describe(error), 1, debug)


@contextlib.contextmanager
def _collecting_interrupts() -> Iterator[list[int]]:
    """Collect the interrupts (Ctrl-C) of the block: inside an import, one can come out as another error."""
    seen: list[int] = []

    def notice(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield seen  # somebody else decides what an interrupt does
        return
    signal.signal(signal.SIGINT, notice)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _describe_interrupt(error: BaseException) -> str:
    """The notes of the error say what became of the work."""
    return "; ".join(["interrupted", *getattr(error, "__notes__", [])]) + "."


def _describe_fault(error: Exception) -> str:
    text = " ".join(str(error).split())
    # torch has no exception class of its own for main memory
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "out of memory; use a smaller --variant, --image-size, --timesteps or training.batch_size."
    return f"{type(error).__name__}: {text}; run again with --debug for the traceback."


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0
    if given[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"neuro {version('neuro')}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    command = importlib.import_module(f"neuro.cli.{name}")
    parser = _Parser(prog=f"neuro {name}", description=getattr(command, "DESCRIPTION", COMMANDS[name]))
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args, unknown = parser.parse_known_args(rest)
    if unknown:
        options = [option for action in parser._actions for option in action.option_strings]
        raise unknown_name("argument", unknown[0], options)
    return int(command.run(args))


def _help() -> str:
    commands = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    return "usage: neuro COMMAND [options]\n\n" + DESCRIPTION.format(commands=commands)


def _complain(message: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"neuro: {message}", file=sys.stderr)
    return status
