"""What a check found."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One defect: its name, what was seen, and the fix in one line."""

    name: str
    seen: str
    fix: str
    level: str = "error"  # or "warning": learning works, but worse or not reproducibly

    def __str__(self) -> str:
        return f"{self.level} {self.name}: {self.seen}; fix: {self.fix}"


class Broken(Exception):
    """The environment cannot be stepped any further; carries the `Finding`."""

    def __init__(self, finding: Finding):
        super().__init__(str(finding))
        self.finding = finding


@dataclass
class Report:
    """The findings of one check, each name once. True, and `ok`, where there is none."""

    environment: str
    backend: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, found: Iterable[Finding]) -> bool:
        """Take `found`; false where one of them means that the environment cannot be stepped on."""
        try:
            for finding in found:
                if finding.name not in [known.name for known in self.findings]:
                    self.findings.append(finding)
        except Broken as broken:
            self.add([broken.finding])
            return False
        return True

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "warning"]

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        head = f"{self.environment} ({self.backend} backend): "
        if self.ok:
            return head + "nothing found"
        counts = f"{len(self.errors)} errors, {len(self.warnings)} warnings"
        return "\n".join([head + counts, *(f"  {finding}" for finding in self.findings)])

    def to_json(self) -> dict[str, Any]:
        told = {"environment": self.environment, "backend": self.backend, "ok": self.ok}
        return told | {"findings": [asdict(finding) for finding in self.findings]}
