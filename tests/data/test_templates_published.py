"""Every published template in ../shared: the text of apply_chat_template, and a right mask or a reason."""

from collections import Counter
from pathlib import Path

from benchmarks.templates import CASES, survey


def test_every_published_template_is_masked_right_or_refused_with_a_reason(shared: Path) -> None:
    looked = list(survey(shared / "tokenizers"))
    assert len(looked) >= 90
    counts = {case: Counter(one.verdicts[case].kind for one in looked if one.verdicts) for case in CASES}
    wrong = [
        (one.name, case, verdict.why)
        for one in looked
        for case, verdict in one.verdicts.items()
        if verdict.kind == "wrong"
    ]
    assert not wrong
    for one in looked:
        assert one.verdicts or one.refused
        assert all(verdict.why for verdict in one.verdicts.values() if verdict.kind == "refused")
    for case, least in {"single": 76, "multi-turn": 76, "system": 76, "tools": 36, "thoughts": 76}.items():
        assert counts[case]["right"] >= least, counts
