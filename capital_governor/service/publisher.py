"""Writes what is published to the two allocation files, and knows which generation the agents see."""

from __future__ import annotations

from collections.abc import Callable

from capital_governor.adapters import file_convergence
from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.allocation_files import adopted_document, documents
from capital_governor.contracts.allocations import generation_of, read_primary
from capital_governor.core.model import Publication
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line
from capital_governor.wording.reason_texts import Announcement


class Publisher:
    """Writes the two files. The agents see the generation that is in the primary file.

    Args:
        paths: of the two files.
        settings: say what is done with the override file.
        stopped: whether the STOP file exists; asked right before each rename.

    Attributes:
        visible: what the agents see; None: nothing of this governor's.
        failed: whether the last attempt to write the primary failed.
        settled: the generation that has once reached both files; in a pause it is not written again.
    """

    def __init__(self, paths: Paths, settings: Settings, stopped: Callable[[], bool]) -> None:
        self.visible: Publication | None = None
        self.failed = False
        self.settled = 0
        self._paths = paths
        self._policy = settings.override
        self._stopped = stopped
        self._documents: tuple[bytes, bytes] | None = None
        self._documented: Publication | None = None
        self._own_override: bytes | None = None
        self._evidence = ""
        self._lapses: tuple[Line, ...] = ()
        self._announcements: list[Announcement] = []

    def documents(self, published: Publication | None) -> tuple[bytes, bytes] | tuple[None, None]:
        """Return the wanted content of both files, made once per publication; none if another program published it."""
        if published is None or published.generation == 0:
            return None, None
        if self._documents is None or self._documented is not published:
            if self._documents is not None:
                self._own_override = self._documents[1]
            self._documents, self._documented = documents(published), published
        return self._documents

    def shows(self, published: Publication | None) -> bool:
        """Whether the agents see this generation."""
        return published is not None and self.visible is not None and published.generation == self.visible.generation

    def may_wait(self, published: Publication | None) -> bool:
        """Whether the agents may not see yet what is published."""
        return published is not None and not self.shows(published)

    def may_lag(self, published: Publication) -> bool:
        """Whether the override file has an earlier generation, since the last run ended between the two files.

        Where another program wrote it or removed it, that is not known, and it counts as written.
        """
        if self._policy != "assert":
            return False
        try:
            content = read_bounded(self._paths.override)
        except OSError:
            return False
        return content is not None and 0 < generation_of(content) < published.generation

    def decided(self, evidence: str, lapses: tuple[Line, ...] = ()) -> None:
        """Keep what caused the last move or cut, and lines about lapses decided with it, for its announcement."""
        self._evidence, self._lapses = evidence, lapses

    def show(self, published: Publication) -> None:
        """Note that the agents see this generation, and that it is to be announced."""
        if not self.shows(published):
            self._announcements.append(Announcement(published, self.visible, self._evidence, self._lapses))
            self.visible, self._evidence, self._lapses = published, "", ()

    def announcements(self) -> tuple[Announcement, ...]:
        """Return the moves and cuts that became visible since this was last asked, oldest first."""
        taken, self._announcements = tuple(self._announcements), []
        return taken

    def publish(self, published: Publication | None) -> Convergence | None:
        """Write the files where they differ from what is published; return the result, None if there is nothing to do.

        The same for a new publication and for a repair: a file that is as wanted is not touched.
        """
        if published is not None and published.generation == 0:
            return self._restore(published)
        primary, override = self.documents(published)
        if primary is None or override is None or published is None:
            return None
        convergence = file_convergence.converge(
            self._paths, primary, override, policy=self._policy, stopped=self._stopped, own=self._own_override
        )
        if convergence.primary.outcome in {FileOutcome.WRITTEN, FileOutcome.UNCHANGED}:
            self.show(published)
            if convergence.override.outcome not in {FileOutcome.FAILED, FileOutcome.STOPPED}:
                self.settled = published.generation
        self._note_failure(convergence)
        return convergence

    def _restore(self, published: Publication) -> Convergence | None:
        """Write again what another program published, if its file is missing or damaged, since agents rely on it.

        A readable file stays as it is: that program may still be running.
        """
        try:
            content = read_bounded(self._paths.primary)
        except OSError:
            content = None
        if content is not None and isinstance(read_primary(content), Publication):
            return None
        convergence = file_convergence.converge(
            self._paths, adopted_document(published), b"", policy="off", stopped=self._stopped
        )
        self._note_failure(convergence)
        return convergence

    def _note_failure(self, convergence: Convergence) -> None:
        """Remember whether the primary could not be written; under STOP it was not tried."""
        if convergence.primary.outcome is not FileOutcome.STOPPED:
            self.failed = bool(convergence.primary.problem)
