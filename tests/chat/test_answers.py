"""Answers of a real model in its own process: streamed, bounded, repeatable, and of two sides."""

import shutil
from pathlib import Path

import pytest

from core.chat.blocking import BlockingChat
from core.chat.talk import Done, Settings, Side
from core.errors import UserError
from core.runs.folder import RunFolder
from core.spec import dump_spec
from tests.chat.conftest import write_changed_model

STORY = [{"role": "user", "content": "Once upon a time there was a girl. She"}]
GREEDY = Settings(temperature=0, max_tokens=24)


def ask(talk: BlockingChat, side: Side = "base", settings: Settings = GREEDY) -> tuple[list[str], Done]:
    pieces = list(talk.generate(STORY, side=side, settings=settings))
    assert talk.done is not None
    return pieces, talk.done


def test_pieces_stream_and_join_to_the_answer(talk: BlockingChat) -> None:
    pieces, done = ask(talk, "tuned")
    assert len(pieces) > 5
    assert "".join(pieces) == done.answer
    assert done.tokens == 24
    assert done.stopped == "length"
    assert done.seconds > 0


def test_greedy_is_the_same_each_time(talk: BlockingChat) -> None:
    assert ask(talk)[1].answer == ask(talk)[1].answer


def test_a_seed_repeats_a_draw_and_another_seed_does_not(talk: BlockingChat) -> None:
    first, again, other = (
        ask(talk, settings=Settings(1.0, 1.0, max_tokens=24, seed=seed))[1].answer for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_smallest_top_p_is_greedy(talk: BlockingChat) -> None:
    drawn = ask(talk, settings=Settings(1.0, 1e-9, max_tokens=24, seed=3))[1].answer
    assert drawn == ask(talk)[1].answer


def test_both_sides_come_from_one_run_and_differ(talk: BlockingChat) -> None:
    base, tuned = ask(talk, "base")[1].answer, ask(talk, "tuned")[1].answer
    assert base != tuned
    assert ask(talk, "base")[1].answer == base  # the adapter is off again


def test_the_base_side_is_the_model_without_the_adapter(talk: BlockingChat, small_model: Path) -> None:
    with BlockingChat() as plain:
        ready = plain.start(model=str(small_model))
        assert ready.sides == ("base",)
        assert any("no chat template" in note for note in ready.notes)
        assert ask(plain)[1].answer == ask(talk, "base")[1].answer
        with pytest.raises(UserError, match="no tuned side"):
            ask(plain, "tuned")


def test_stop_text_ends_the_answer_and_is_no_part_of_it(talk: BlockingChat) -> None:
    whole = ask(talk)[1].answer
    stop = whole[8:12]
    pieces, done = ask(talk, settings=Settings(0, max_tokens=24, stop=(stop,)))
    assert done.answer == whole[: whole.find(stop)]
    assert "".join(pieces) == done.answer
    assert done.stopped == "end"


def test_an_earlier_checkpoint_is_another_tuned_side(talk: BlockingChat, adapter_run: RunFolder) -> None:
    result, base = ask(talk, "tuned")[1].answer, ask(talk, "base")[1].answer
    ready = talk.start(run=adapter_run.path, checkpoint=5)
    assert ready.checkpoints == (5,)
    assert ready.checkpoint == 5
    assert ask(talk, "tuned")[1].answer != result
    assert ask(talk, "base")[1].answer == base
    talk.start(run=adapter_run.path)
    assert ask(talk, "tuned")[1].answer == result


def test_a_checkpoint_that_is_not_there_names_those_that_are(
    talk: BlockingChat, adapter_run: RunFolder
) -> None:
    with pytest.raises(UserError, match="has no checkpoint 7: it has: 5"):
        talk.start(run=adapter_run.path, checkpoint=7)
    assert ask(talk)[1].answer  # what was loaded is still there


def test_a_long_conversation_loses_its_oldest_turns_and_says_so(talk: BlockingChat) -> None:
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": "word " * 40} for n in range(9)]
    assert list(talk.generate(turns, side="tuned", settings=GREEDY))
    assert any("oldest turns were left out" in note for note in talk.notes)


def test_a_message_that_can_never_fit_is_refused(talk: BlockingChat) -> None:
    with pytest.raises(UserError, match="this message is too long"):
        list(talk.generate([{"role": "user", "content": "word " * 600}], settings=GREEDY))


def test_the_answer_ends_where_the_context_does(talk: BlockingChat) -> None:
    done = list(talk.generate(STORY, side="base", settings=Settings(0, max_tokens=100_000))) and talk.done
    assert done and done.stopped in ("length", "end")
    assert done.tokens < 512


def test_a_run_without_a_result_says_what_to_do(
    tmp_path: Path, adapter_run: RunFolder, talk: BlockingChat
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "run.yaml").write_text(adapter_run.spec_file.read_text())
    with pytest.raises(UserError, match=r"nothing to talk to yet.*finetui save empty"):
        talk.start(run=empty)


def test_an_adapter_that_is_damaged_is_one_line_that_names_the_others(
    tmp_path: Path, adapter_run: RunFolder, talk: BlockingChat
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(adapter_run.path, broken)
    (broken / "adapter" / "adapter_model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"adapter cannot be loaded.*it has: 5"):
        talk.start(run=broken)
    talk.start(run=broken, checkpoint=5)
    assert ask(talk, "tuned")[1].answer
    talk.start(run=adapter_run.path)


def test_a_run_that_goes_on_answers_with_its_last_checkpoint_and_says_so(
    tmp_path: Path, adapter_run: RunFolder, talk: BlockingChat
) -> None:
    running = tmp_path / "running"
    shutil.copytree(adapter_run.path, running, ignore=shutil.ignore_patterns("adapter"))
    ready = talk.start(run=running)
    assert any("last checkpoint, checkpoint-5" in note for note in ready.notes)
    answer = ask(talk, "tuned")[1].answer
    talk.start(run=adapter_run.path, checkpoint=5)
    assert ask(talk, "tuned")[1].answer == answer
    talk.start(run=adapter_run.path)


def test_a_full_run_loads_its_base_when_that_is_asked(
    tmp_path: Path, adapter_run: RunFolder, small_model: Path, talk: BlockingChat
) -> None:
    base = ask(talk, "base")[1].answer
    run = RunFolder(tmp_path / "full")
    run.path.mkdir()
    run.spec_file.write_text(dump_spec(adapter_run.spec().model_copy(update={"method": "full"}), full=True))
    write_changed_model(small_model, run.model)
    ready = talk.start(run=run.path)
    assert ready.sides == ("tuned", "base")
    assert any("loaded when first asked and takes" in note for note in ready.notes)
    assert ask(talk, "tuned")[1].answer != base
    assert ask(talk, "base")[1].answer == base
    talk.start(run=adapter_run.path)
