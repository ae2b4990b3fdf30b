"""What a detector and an embedder have in common: a session, requests to reuse, and what they say of themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from engine.devices import Backend, Device
from engine.runtime import RequestPool, Session

Result = TypeVar("Result", covariant=True)


class Job(Protocol[Result]):
    """Work on its way."""

    def result(self) -> Result:
        """Wait for it."""
        ...


class Network:
    """A network made ready. May be used from several threads."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pool = RequestPool(session)

    @property
    def name(self) -> str:
        """What the network calls itself."""
        return self.session.model.name

    @property
    def sha256(self) -> str:
        """Of its file, in hexadecimal digits."""
        return self.session.model.sha256

    @property
    def backend(self) -> Backend:
        """What runs it."""
        return self.session.backend

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.session.device

    @property
    def precision(self) -> str:
        """The arithmetic that is really used, such as `f32`."""
        return self.session.precision

    def overlapped(self, jobs: Iterable[Job[Result]]) -> Iterator[Result]:
        """The results of jobs, in their order. On a GPU each is started before the one before it is waited for, so that
        its copy goes on while the other computes; a CPU has nothing to gain from that.

        Args:
            jobs: started as they are taken.
        """
        waiting: deque[Job[Result]] = deque()
        ahead = 1 if self.device == "gpu" else 0
        for job in jobs:
            waiting.append(job)
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        for job in waiting:
            yield job.result()

    def close(self) -> None:
        """Give the network's memory back."""
        self.session.close()


Kind = TypeVar("Kind", bound=Network)


def opened(network: Kind | Callable[[], Kind]) -> Kind:
    """A network that may have been left to be opened until it is needed.

    Opening takes a second, so whoever takes a network takes what opens it as well, and calls this when all that can be
    refused sooner has been looked at: a misspelt file name is told at once.

    Raises:
        IznetError: what opening it raises.

    Example:
        >>> opened(partial(Detector.open, size=960))  # doctest: +SKIP
        <engine.detector.Detector object at …>
    """
    return network if isinstance(network, Network) else network()
