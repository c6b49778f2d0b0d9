"""A chat template rendered in a process of its own, where its time, memory and output have an end.

A template is a program that came with the weights. The sandbox keeps it from Python's insides, and these limits from work without
end. `refspec.models.chat` runs this file as a script: it imports nothing of refspec, since each rendering pays for its start.
The surroundings (filters, tags, names) are those that Hugging Face transformers documents for chat templates.
"""

import datetime
import json
import sys
from typing import Any


def rendered(asked: dict[str, Any]) -> str:
    """The text of a template. Raises whatever the template does."""
    from jinja2 import Environment, TemplateError, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """{% generation %} marks what an assistant said, for training; here it is a scope and nothing more."""

        tags = {"generation"}  # noqa: RUF012  (as jinja2 declares it)

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_itself"), [], [], body).set_lineno(line)

        def _itself(self, caller: Any) -> str:
            return str(caller())

    class Plain(Namespace):
        """A namespace without names that begin with an underscore, as in transformers."""

        def __init__(*given: Any, **attributes: Any) -> None:
            # no named parameter, so that a template may have an attribute called self
            for name in (attributes := dict(*given[1:], **attributes)):
                refuse_underscore(name)
            Namespace.__init__(given[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            refuse_underscore(name)
            Namespace.__setitem__(self, name, value)

    def refuse_underscore(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace keeps no attribute {name!r}; leave out the underscore")

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    now = datetime.datetime.fromisoformat(asked["date"])
    environment: Environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": refuse, "strftime_now": now.strftime, "namespace": Plain}
    pieces, length = [], 0
    for piece in environment.from_string(asked["template"]).generate(asked["variables"]):
        pieces.append(piece)
        length += len(piece)
        if length > asked["characters"]:
            raise OverflowError(f"it wrote more than {asked['characters']:,} characters")
    return "".join(pieces)


def limit(seconds: int, megabytes: int) -> None:
    """Let the system end this process beyond so much work. Windows has no such limits, and macOS none on memory."""
    try:
        import resource
    except ImportError:
        return
    for name, most in (("RLIMIT_CPU", seconds), ("RLIMIT_AS", megabytes << 20), ("RLIMIT_CORE", 0)):
        try:
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, hard if name == "RLIMIT_CPU" else most))
        except (AttributeError, ValueError, OSError):
            pass


def main() -> None:
    asked = json.load(sys.stdin.buffer)
    sys.path[:] = asked["path"]
    limit(asked["seconds"], asked["megabytes"])
    try:
        answer = {"text": rendered(asked)}
    except MemoryError:
        answer = {"error": f"it took more than {asked['megabytes']} MB"}
    except RecursionError:
        answer = {"error": "it is nested too deeply"}
    except Exception as error:  # a template fails as programs do
        answer = {"error": str(error)[:300] or type(error).__name__}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
