"""Where a feed comes from: what the user typed, how FFmpeg opens it, and what may be shown of it.

A camera's address often holds its password. `Address.shown` is what logs, metrics, pages and records get to see, and
`Address.clean` takes the secrets out of other people's words, such as FFmpeg's errors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from engine.errors import InputError, UsageError

Kind = Literal["network", "device", "file", "pattern"]
Transport = Literal["tcp", "udp"]

HIDDEN = "***"
LONG = 5
"""Characters of a secret that is one wherever it stands; shorter ones (1, main, 1080) stand in other people's words
by chance."""
NETWORK = ("rtsp", "rtsps", "http", "https", "udp")
"""What a URL may begin with."""

QUICK = {"analyzeduration": "2000000", "fpsprobesize": "0"}
"""Two seconds, in microseconds, to find out what a stream holds, and none for its frame rate: that it tells itself."""

_NAMED = re.compile(r"(?P<name>[\w .-]{1,40})=(?P<rest>.+)", re.DOTALL)
_MISNAMED = re.compile(
    rf"(?P<name>[^:=]*)=(?:lavfi:|webcam:|/dev/video|(?:{'|'.join(NETWORK)})://).*", re.DOTALL | re.I
)
"""What plainly is a name before a source, but no name that can be."""
_IN_PATH = re.compile(r"(?P<key>[^/&;_=]*)=(?P<value>.*?)(?=[/&;]|_[^/&;_=]+=|$)", re.DOTALL)
"""A parameter in the path, where many cameras have theirs. It ends at / & ; or where _ begins another, since a mere _
may be part of the value."""
_ONE_SLASH = re.compile(rf"(?P<scheme>{'|'.join(NETWORK)})(?:://?|//)(?!/)", re.I)
"""How an address begins that lacks a sign: no file, and it may hold a password."""
_LETTER = r"[^\W_]"
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_PLATFORM = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}


@dataclass(frozen=True, slots=True)
class Address:
    """One source.

    Example:
        >>> door = Address.parse("door=rtsp://admin:s3cret@10.0.0.7/stream?token=abc")
        >>> door.name, door.shown
        ('door', 'rtsp://10.0.0.7/stream?token=***')
        >>> door.clean("401 Unauthorized: rtsp://admin:s3cret@10.0.0.7/stream?token=abc")
        '401 Unauthorized: rtsp://10.0.0.7/stream?token=***'
    """

    kind: Kind
    name: str
    """Short, for people: given as `NAME=SOURCE`, else the shown address."""
    shown: str
    """The address without anything secret."""
    target: str = field(repr=False)
    """What FFmpeg opens; may hold a password."""
    format: str | None = None
    """FFmpeg's input format, where it cannot be told from the target."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For FFmpeg's demuxer."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not be shown, longest first."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """The names of the parameters in path and query, whose values are among the secrets."""

    @property
    def paced(self) -> bool:
        """Whether the reader has to keep the time, since the source would come as fast as it can be read."""
        return self.kind in ("file", "pattern")

    @classmethod
    def parse(cls, text: str, *, transport: Transport = "tcp", realtime: bool = False) -> Address:
        """Understand a source.

        Args:
            text: `rtsp://` `rtsps://` `http://` `https://` `udp://`, a webcam (`0`, `/dev/video0`, `webcam:NAME`), a
                file, or `lavfi:GRAPH`; with `NAME=` before it, the name that it is shown by.
            transport: how RTSP sends its pictures.
            realtime: a file is played at its own speed; without it, files are refused.

        Raises:
            UsageError: nothing that can be read as a source.
        """
        name = ""
        # Addresses have equals signs of their own, behind a scheme, a slash or a filter's name.
        if (named := _NAMED.fullmatch(text)) and not text.startswith("lavfi:"):
            name, text = named["name"].strip(), named["rest"]
        elif misnamed := _MISNAMED.fullmatch(text):
            raise UsageError(_no_name(misnamed["name"]))
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        if scheme:
            return _network(text, scheme, name, transport)
        if text.startswith("lavfi:"):
            return cls("pattern", name or text, text, text.removeprefix("lavfi:"), "lavfi")
        if text.isdecimal() or text.startswith(("/dev/video", "webcam:")):
            return _webcam(text, name)
        if not text:
            raise UsageError("an empty source; give a URL, a webcam's number, or a file with --realtime")
        if address := _ONE_SLASH.match(text):
            raise UsageError(f"an address begins with {address['scheme'].lower()}://, this one with {address[0]}")
        if not realtime:
            raise UsageError(
                f"{text}: a file is no live feed; play it at its own speed with --realtime, or label all of it with: "
                f"iznet label {text}"
            )
        return cls("file", name or Path(text).name, text, text)

    @classmethod
    def server(cls, text: str, schemes: Sequence[str], *, transport: Transport = "tcp") -> Address:
        """Understand the address of a server that something is sent to.

        Raises:
            UsageError: it begins with none of `schemes`, or makes no sense.

        Example:
            >>> Address.server("mqtt://me:s3cret@broker/home", ("mqtt", "mqtts")).shown
            'mqtt://broker/home'
        """
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        if scheme not in schemes:
            place = _guessed(text).shown if scheme else "what has no :// in it"
            raise UsageError(f"{place} is no address that this can be sent to; use {_either(schemes)}")
        return _network(text, scheme, "", transport, schemes)

    def check(self) -> None:
        """Refuse what cannot be there later either.

        Raises:
            InputError: a file that is missing, or a folder.
        """
        if self.kind == "file" and Path(self.target).is_dir():
            raise InputError(f"{self.target} is a folder; give a video in it")
        if self.kind == "file" and not Path(self.target).is_file():
            raise InputError(f"{self.target}: there is no such file")

    def clean(self, words: str) -> str:
        """The words without anything secret of this address in them.

        Secrets shorter than `LONG` are taken out of URLs and from behind their keys alone: an error 404 has to stay
        one where a parameter is 0.
        """
        parts = words.split(self.target) if self.target else [words]
        return self.shown.join(map(self._without_secrets, parts))

    def _without_secrets(self, words: str) -> str:
        keyed = "|".join(rf"(?<!{_LETTER}){re.escape(key)}\s?[=:]\s?" for key in self.keys)
        short = f"[?&#]|{keyed}" if keyed else "[?&#]"
        for secret in self.secrets:
            # Whole words: nothing of a word on either side, unless that is the end of an escape (%20).
            before = rf"(?<!{_LETTER})|(?<=%[\dA-Fa-f]{{2}})|(?=[\W_])" if len(secret) >= LONG else short
            after = rf"(?:(?!{_LETTER})|(?<=[\W_]))"
            words = re.sub(rf"({before}){re.escape(secret)}{after}", rf"\g<1>{HIDDEN}", words)
        return _USERINFO.sub("", words)


def without_secrets(words: str, arguments: Sequence[str]) -> str:
    """The words without the secrets of a command line: those of its addresses, and what follows `--token`.

    Example:
        >>> without_secrets("cannot open rtsp://me:pw@cam/1", ["live", "rtsp://me:pw@cam/1"])
        'cannot open rtsp://cam/1'
    """
    for before, argument in pairwise(["", *arguments]):
        option, _, token = argument.partition("=")
        if before == "--token":
            words = _without_token(words, argument)
        elif option == "--token":
            words = _without_token(words, token)
        elif "://" in argument:
            with suppress(UsageError):
                words = Address.parse(argument).clean(words)
            words = _guessed(argument).clean(words)
    return words


def _without_token(words: str, token: str) -> str:
    """A short one is taken out where it is called a token, and left as what it is everywhere else: a letter."""
    if len(token) >= LONG:
        return words.replace(token, HIDDEN)
    return re.sub(rf"(token\W+){re.escape(token)}(?!\w)", rf"\g<1>{HIDDEN}", words) if token else words


def _guessed(text: str) -> Address:
    """What has `://` in it but need not make sense: it may hold a password all the same."""
    scheme, _, rest = text.partition("://")
    place, *behind = re.split(r"[?#]", rest, maxsplit=1)
    query, _, fragment = "".join(behind).partition("#")
    userinfo, _, host = place.rpartition("@")
    secrets = _secrets(userinfo, place, query, fragment)
    return Address("network", "", f"{scheme}://{_path(host)}", text, secrets=secrets, keys=_keys(place, query))


def _no_name(name: str) -> str:
    """Why a source cannot be called so."""
    odd = "".join(dict.fromkeys(re.findall(r"[^\w .-]", name)))
    wrong = f"it holds {odd}" if odd else f"it is {len(name)} long"
    return f"{name[:40]} cannot be a source's name: {wrong}; take 1 to 40 letters, digits, spaces and . _ -"


def _either(schemes: Sequence[str]) -> str:
    return ", ".join(f"{scheme}://" for scheme in schemes)


def _network(text: str, scheme: str, name: str, transport: Transport, schemes: Sequence[str] = NETWORK) -> Address:
    if scheme not in schemes:
        raise UsageError(f"{scheme}:// is no source that can be read; use {_either(schemes)}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        if _misplaced(text):
            raise UsageError(_escapes(scheme)) from None
        raise UsageError(f"a {scheme}:// address that makes no sense ({_reason(error)}); check host and port") from None
    if not host and scheme != "udp":
        raise UsageError(f"a {scheme}:// address without a host; write {scheme}://HOST/PATH")
    if _misplaced(text):
        raise UsageError(_escapes(scheme))
    options = dict(QUICK)
    if scheme in ("rtsp", "rtsps"):
        options["rtsp_transport"] = transport
    secrets = _secrets(parts.netloc.rpartition("@")[0], parts.path, parts.query, parts.fragment)
    shown = _shown(parts, host or "", port)
    return Address("network", name or shown, shown, text, None, options, secrets, _keys(parts.path, parts.query))


def _misplaced(text: str) -> bool:
    """Whether a / ? or # of the password ended what is before the @, so that a part of it passes for the host."""
    rest = text.partition("://")[2]
    cut = re.match(r"(?P<place>[^/?#]*)(?P<path>[^?#]*)(?P<query>\??[^#]*)(?P<fragment>.*)", rest, re.DOTALL)
    assert cut is not None
    if "@" in cut["fragment"]:
        return True
    if "@" in cut["place"] or ":" not in cut["place"]:
        return False
    # What begins with @ is a name in a path; parameters in the path, or behind one, may have it in their values.
    return bool(re.match(r"[^=]*[^=/]@", cut["path"])) or (not cut["path"] and "@" in cut["query"])


def _escapes(scheme: str) -> str:
    return (
        f"a {scheme}:// address whose @ does not stand right before the host; write / ? # and @ in a user name, "
        "password or path as %2F %3F %23 %40"
    )


def _reason(error: ValueError) -> str:
    """Why an address cannot be taken apart, without quoting it."""
    return "the port is no number between 0 and 65535" if "ort" in str(error) else "it cannot be taken apart"


def _shown(parts: SplitResult, host: str, port: int | None) -> str:
    place = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme.lower()}://{place}{'' if port is None else f':{port}'}{_path(parts.path)}"
    # Which parameter is a key to the camera, nobody can tell: only the names are shown, of those that have one.
    named = [pair.partition("=") for pair in parts.query.split("&") if pair]
    keys = "&".join(f"{key}={HIDDEN}" if equals else HIDDEN for key, equals, _ in named)
    return f"{shown}?{keys}" if keys else shown


def _path(path: str) -> str:
    """What may be shown of a path: of its parameters, the names."""
    return _IN_PATH.sub(rf"\g<key>={HIDDEN}", path)


def _parameters(path: str, query: str) -> list[tuple[str, str]]:
    """Name and value of all that stand in path and query; the name is empty where there is none."""
    behind = [pair.partition("=") for pair in query.split("&")]
    return [(found["key"], found["value"]) for found in _IN_PATH.finditer(path)] + [
        (key, value) if equals else ("", key) for key, equals, value in behind
    ]


def _secrets(userinfo: str, path: str, query: str, fragment: str) -> tuple[str, ...]:
    values = [value for _, value in _parameters(path, query)]
    values += [value.rpartition(".")[0] for value in values]  # pw=x.sdp: what is secret may be x
    raw = [userinfo, *userinfo.split(":", 1), query, fragment, *values]
    found = {text for each in raw for text in (each, unquote(each)) if text}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _keys(path: str, query: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key, _ in _parameters(path, query) if key))


def _webcam(text: str, name: str) -> Address:
    try:
        driver, pattern = _PLATFORM[sys.platform]
    except KeyError:
        raise UsageError(f"webcams are not known on {sys.platform}; give a URL") from None
    wanted = text.removeprefix("webcam:")
    target = pattern.format(wanted) if wanted.isdecimal() or sys.platform == "win32" else wanted
    if sys.platform == "linux" and not target.startswith("/dev/"):
        target = str(_device_named(wanted, Path("/sys/class/video4linux")))
    return Address("device", name or f"webcam {wanted}", text, target, driver)


def _device_named(name: str, folder: Path) -> Path:
    """The first video device whose driver calls it so, upper and lower case alike."""
    found = {}
    for entry in sorted(folder.glob("video*")):
        try:
            found[entry.name] = (entry / "name").read_text(encoding="utf-8").strip()
        except OSError:
            continue
    for device, called in found.items():
        if name.casefold() in called.casefold():
            return Path("/dev") / device
    there = ", ".join(sorted(set(found.values()))) or "none"
    raise UsageError(f"webcam:{name}: no webcam is called so; there are: {there}")
