"""Chat on a CUDA GPU: both sides from one set of weights, in bf16 and over four bits."""

import dataclasses
from pathlib import Path

import pytest

from core.chat.blocking import BlockingChat
from core.chat.talk import Settings, Side
from core.runs.folder import RunFolder
from core.spec import dump_spec

pytestmark = pytest.mark.gpu
STORY = [{"role": "user", "content": "What is a goat?"}]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_both_sides_answer_on_the_gpu(method: str, adapter_run: RunFolder, tmp_path: Path) -> None:
    import shutil

    run = RunFolder(tmp_path / method)
    shutil.copytree(adapter_run.path, run.path)
    spec = run.spec().model_copy(update={"method": method})
    run.spec_file.write_text(dump_spec(spec, full=True))
    greedy = Settings(temperature=0, max_tokens=32)
    with BlockingChat() as talk:
        talk.start(run=run.path)
        sides: tuple[Side, ...] = ("base", "tuned", "base")
        answers = []
        for side in sides:
            pieces = list(talk.generate(STORY, side=side, settings=greedy))
            assert talk.done is not None
            answers.append("".join(pieces))
            print(method, side, dataclasses.asdict(talk.done))
        assert answers[0] == answers[2] != answers[1]
        drawn = [
            "".join(talk.generate(STORY, side="tuned", settings=Settings(1.0, 0.9, 32, seed=7)))
            for _ in range(2)
        ]
        assert drawn[0] == drawn[1]
