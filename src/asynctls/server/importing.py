"""An app of the user's own, found by its name as ASGI servers find theirs: ``module:callable``."""

from __future__ import annotations

import inspect
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

# As it comes, before we set it up: the app may log by it.
import structlog  # noqa: F401

from asynctls.errors import ConfigError, Fault
from asynctls.logger import set_up_now

if TYPE_CHECKING:
    from types import ModuleType

    from asynctls.server.apps import App

__all__ = ["import_app"]


def import_app(name: str) -> App:
    """Imports the app that ``name`` says, from the working folder or from what is installed.

    Blocks for as long as the module takes.

    Args:
        name: ``module:callable``; both may have dots in them.

    Raises:
        ConfigError: there is none by that name, its module fails, or it is no coroutine function
            that takes a session.
    """
    set_up_now()
    module_name, _, path = name.partition(":")
    folder = str(Path.cwd())
    # First, as `python -m` has it: what is served is what lies here.
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: object = _imported(name, module_name, folder)
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise _fault(name, f"the module {module_name} has no {path}") from None
    return _checked(name, found)


def _imported(name: str, module_name: str, folder: str) -> ModuleType:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        # One that the module itself imports in vain is another matter.
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise _fault(
                name,
                f"there is no module {error.name} in {folder} or among what is installed",
            ) from None
        raise _failed(name, module_name, error) from error
    except Exception as error:
        # The border to code that is not ours.
        raise _failed(name, module_name, error) from error


def _failed(name: str, module_name: str, error: Exception) -> ConfigError:
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
        what = error.msg
    else:
        # The deepest frame that is not the import system's: where the module went wrong.
        frames = traceback.extract_tb(error.__traceback__)
        last = [each for each in frames if not each.filename.startswith("<frozen importlib")][-1]
        where = f"{last.filename}, line {last.lineno}"
        what = " ".join(str(error).split())
    return _fault(name, f"the module {module_name} fails: {type(error).__name__}: {what} ({where})")


def _checked(name: str, found: object) -> App:
    kind = "class" if inspect.isclass(found) else type(found).__name__
    if not callable(found) or kind == "class":
        raise _fault(name, f"it is of the kind {kind}: a coroutine function is wanted (async def)")
    if not any(map(inspect.iscoroutinefunction, (found, type(found).__call__))):
        raise _fault(name, "it is no coroutine function: write async def")
    try:
        inspect.signature(found).bind(object())
    except TypeError:
        raise _fault(name, "it must take one argument, the session") from None
    return cast("App", found)


def _fault(name: str, problem: str) -> ConfigError:
    return ConfigError(Fault("server.app", name, problem))
