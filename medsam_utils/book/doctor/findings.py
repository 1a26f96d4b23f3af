"""What `medsam_utils.doctor` finds out about a dataset, and its report in plain text."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...case import CaseReference


@dataclass(frozen=True)
class Finding:
    """One thing that is odd. where: a case or file; look: only worth a look, may well be right."""

    kind: str
    where: str
    detail: str = ""
    references: tuple[CaseReference, ...] = ()
    look: bool = False


@dataclass
class Report:
    """What `examine` found. facts: lines of counts; usable: cases; typical: those of middling
    object size."""

    title: str
    facts: list[str]
    usable: int
    findings: list[Finding] = field(default_factory=list)
    typical: list[CaseReference] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0: nothing is wrong, apart from things to look at; 1: something is; 2: no case is
        usable."""
        return int(any(not finding.look for finding in self.findings)) if self.usable else 2

    def kinds(self) -> dict[str, list[Finding]]:
        """Findings by kind, those only worth a look at the end."""
        kinds: dict[str, list[Finding]] = {}
        for finding in sorted(
            self.findings, key=lambda f: f.look
        ):  # stable: otherwise in order of discovery
            kinds.setdefault(
                f"{'look at these: ' if finding.look else ''}{finding.kind}", []
            ).append(finding)
        return kinds

    def text(self, longest: int = 10) -> str:
        """Return the report in plain text; of each kind the first `longest`."""
        lines = [self.title, *(f"  {fact}" for fact in self.facts)]
        for kind, findings in self.kinds().items():
            lines += ["", f"{kind} ({len(findings)})"]
            lines += [
                f"  {f.where}{': ' if f.detail else ''}{f.detail}" for f in findings[:longest]
            ]
            if len(findings) > longest:
                lines.append(
                    f"  ... and {len(findings) - longest} more (all of them are on the page)"
                )
        return "\n".join([*lines, "", "Findings: see above." if self.status else "Nothing found."])
