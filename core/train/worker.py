"""The training worker: `python -P -m core.train.worker RUN_FOLDER` trains the run in that folder.

A second word says how many times it has gone on after memory ran out (`core.train.again`).

It reads from top to bottom. All that it says goes to `events.jsonl`, what libraries print to
`worker.log`. The heavy imports stand where they are first needed, so that the run is seen to start.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.plan.ladder import step_down
from core.plan.objective import settled
from core.runs.events import Checkpoint, End, Error, EventLog, Finding, Log, Start
from core.runs.folder import RunFolder
from core.runs.lock import WorkerLock
from core.train import again, checkpoints, device, download, failures, ready, remembered
from core.train.again import Settled
from core.train.asked import Asked, Stopped
from core.train.course import Course
from core.train.pulse import Pulse
from core.train.stages import Stages

EVALUATED_TOKENS = {"cuda": 400_000, "cpu": 3_000}
"""Held-out tokens that are looked at; a mean over more of them costs time and tells no more."""

AGAIN = 75
"""What `work` returns where the run goes on with less memory (EX_TEMPFAIL of sysexits.h)."""


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -P -m core.train.worker RUN_FOLDER [TIMES]")
    run, times = RunFolder(Path(sys.argv[1]).absolute()), int(sys.argv[2]) if len(sys.argv) == 3 else 0
    status = work(run, times)
    if status == AGAIN:
        again.become("core.train.worker", run, times + 1)
    sys.exit(status)


def work(run: RunFolder, times: int = 0) -> int:
    """Trains the run to its end, whatever that is, and tells it. 0: finished or stopped; 1: failed; AGAIN:
    memory ran out, and the run is to go on in a program that begins anew, which it has done `times` times."""
    lock = WorkerLock(run)
    try:
        lock.acquire()
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    log, asked = EventLog(run.events_file), Asked(run)
    end: End | None = None
    goes_on = False
    try:
        checkpoints.sweep(run)
        checkpoints.reserve(run)
        course = Course.begin(run)
        log.write(Start(os.getpid(), course.resumed[0] if course.resumed else None, course.versions))
        with asked.listening(), Pulse(log, lock):
            try:
                end = train(run, log, asked, course)
            except Stopped:
                end = End("stopped", "before the first step, so there was nothing to save")
            except Exception as error:
                traceback.print_exc()
                checkpoints.sweep(run)
                checkpoints.give_way(run)  # room on a full disk to say that it is full
                end = broken_off(error, run, log, course, times)
        if end is None:
            goes_on = True
            return AGAIN
        asked.done()
        log.write(end)
    finally:
        checkpoints.give_way(run)
        log.close()
        lock.hand_on() if goes_on else lock.release()
    return 1 if end.state == "failed" else 0


def broken_off(error: Exception, run: RunFolder, log: EventLog, course: Course, times: int) -> End | None:
    """Tells what broke a run off. None: it goes on with less memory."""
    spec, known, stage = course.spec, course.settled, course.stage
    rung = None
    if spec and known:
        resumes = checkpoints.newest_whole(run) is not None
        rung = again.lower(error, spec, known, stage, resumes=resumes)
    if rung and times < again.MOST:
        again.record(run, rung)
        log.write(again.finding(error, run, rung, course.step))
        return None
    further = (lambda _: rung) if known else partial(step_down, phase=again.phase_of(stage))
    told = failures.explain(error, run, spec, course.step, further)
    log.write(Error(told.what, told.why, told.todo, str(run.log)))
    return End("failed", told.line())


def train(run: RunFolder, log: Log, asked: Asked, course: Course) -> End:
    """One run, from its spec to its adapter or model."""
    begun = time.time()
    stage = course.stages = Stages(log, asked)
    resumed, before = course.resumed, course.before

    # what can be refused is refused before anything heavy starts
    spec = course.spec = run.spec()
    ready.refuse_unresolved(spec)
    ready.refuse_missing_packages(spec)
    ready.calm_libraries(run)
    ready.keep_compiled()
    left_out = device.one_gpu()
    if left_out:
        log.write(_one_gpu_finding(1 + len(left_out)))

    stage("load", note="starting torch and its libraries")
    import torch
    from transformers import set_seed

    from core.data.chat_template.templates import apply, generation_eos_ids
    from core.data.rows import build
    from core.data.tokenizer import load_tokenizer

    where = device.choose(spec)

    # the model's files, its tokenizer, and the rows as tokens
    folder = download.fetch(spec.model, spec.revision, stage)
    tokenizer = load_tokenizer(str(folder), None)
    stage("tokenise", note="reading the data")
    built = build(spec, tokenizer, lambda _, done, total: stage("tokenise", done, total, "rows"), run.path)
    for finding in built.findings:
        log.write(as_event(finding))
    ready.refuse_nothing_learned(built.train)
    objective = settled(spec, built.objective)
    if spec.packing:
        ready.refuse_packed_preferences(objective)
    end_ids = generation_eos_ids(built.template, tokenizer)
    if built.template:  # plain text has none
        apply(built.template, tokenizer)

    # the model itself
    from core.train import model as models

    set_seed(spec.seed)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    stage("load", 0, size or None, "bytes", f"weights of {spec.model}")
    clock = time.monotonic()
    model = models.load(spec, folder, where, small_steps=objective != "sft")
    seconds = time.monotonic() - clock
    stage("load", size, size or None, "bytes", f"{size / max(seconds, 1e-3) / 1e9:.2f} GB/s")
    if not course.measuring:
        ready.refuse_small_disk(run, spec, model, resumed is not None)

    # the engine, the trainer, and the watch that tells what it does
    from core.models.shape import read_folder
    from core.train import result
    from core.train.batches import Packs, refuse_leaks
    from core.train.engine.setup import compiles, engine_for
    from core.train.engine.warm import record, warm_up
    from core.train.order import in_order, steps_of
    from core.train.trainer import Tuner, arguments
    from core.train.watch import Watch, diverged

    held_out = within(built.eval or [], EVALUATED_TOKENS[where.kind])
    train_on: Sequence[Any] = Packs(built.train, spec.length or 0) if spec.packing else built.train
    most = train_on.most() if isinstance(train_on, Packs) else None
    steps = steps_of(spec, len(train_on))
    lengths = built.train.lengths()
    mean = float(lengths.sum()) / len(train_on) if spec.packing else float(lengths.mean())
    shape = read_folder(folder, spec.model)
    compiled, why = compiles(spec, shape, objective, where.kind, mean, steps)
    course.settled = Settled(shape, objective, where.kind == "cuda", compiled)
    engine = engine_for(model, spec, shape, where, objective, lengths, compiled, why)
    engine.load_bytes, engine.load_seconds = size, round(seconds, 2)
    spec = course.spec = in_order(spec, run, lengths, engine.layout, resumes=resumed is not None)
    if spec.packing:
        with where.autocast():
            refuse_leaks(model, engine.layout)
    if course.measuring:
        kto = objective == "kto"
        spec, train_on, held_out = course.measuring.narrowed(
            spec, train_on, held_out, engine.layout, steps, where.kind, kto
        )
    checkpoint_bytes = ready.checkpoint_bytes(spec, model)
    watch = course.watch = Watch(
        run,
        spec,
        log,
        stage,
        asked,
        where,
        tokenizer,
        built.template,
        held_out,
        checkpoint_bytes=checkpoint_bytes,
        peak=engine.peak,
        tokens=before.tokens if before else 0,
        seconds=before.seconds if before else 0.0,
    )
    if objective == "sft":
        tuner: Any = Tuner(
            model=model,
            args=arguments(spec, run, where, steps),
            train=train_on,
            held_out=held_out or None,
            tokenizer=tokenizer,
            device=where,
            layout=engine.layout,
            head=engine.head,
            on_evaluating=watch.evaluating,
        )
    else:
        from core.train import preference

        tuner = preference.tuner(
            objective,
            model=model,
            spec=spec,
            run=run,
            device=where,
            steps=steps,
            train=train_on,
            held_out=held_out,
            tokenizer=tokenizer,
            on_evaluating=watch.evaluating,
            on_reference=lambda done, total: stage("reference", done, total, "rows"),
        )
    tuner.args.eval_on_start = bool(held_out) and resumed is None
    if spec.method == "qlora":
        models.adapters_in_fp32(tuner.model)
    tuner.add_callback(watch)
    if course.measuring:
        course.measuring.attach(tuner, engine, checkpoint_bytes)

    # train
    if engine.compiled:
        stage("compile", note="the model's layers; kept for later runs")
        failed = warm_up(engine, tuner)
        if failed:
            todo = "mend what worker.log shows, or set compile: false next time to start at once"
            log.write(Finding("warn", "not-compiled", failed, "the run goes on, slower", todo))
        was = None if course.measuring else remembered.was_recorded(spec, course.settled, engine)
        record(engine, tuner, most, was)
        if spec.optimizer == "adamw_8bit" and where.kind == "cuda":
            from core.train.engine.adam8 import quicken

            stage("compile", note="the optimiser's step; kept for later runs")
            engine.optimizer_why = quicken(tuner)
    if where.kind == "cuda":  # elsewhere there was nothing to choose
        log.write(Finding("info", "engine", engine.in_words(), "", ""))
    if not course.measuring:
        engine.begin()
    engine.holder.begun = True
    tuner.train(resume_from_checkpoint=str(resumed[1]) if resumed else None)
    engine.first_step_seconds = watch.first_step_seconds
    if gave_up := engine.holder.gave_up:
        said = f"some passes ran uncompiled, slower ({gave_up})"
        todo = "set compile: false next time, so that all are planned like that"
        log.write(Finding("warn", "not-compiled", said, "torch's compiler gave up on them", todo))
    step = tuner.state.global_step
    finished = step >= tuner.state.max_steps
    if course.measuring:
        course.measuring.finish(tuner, engine, where, spec.method == "full")
        return End("finished")

    # what it came to: the adapter or model before all else
    stage("save", note="the model" if spec.method == "full" else "the adapter")
    if not models.is_finite(tuner.model):
        raise diverged(run, step, "a weight")
    made = result.save(run, spec, tuner.model, tokenizer, end_ids, commit_of(folder))
    log.write(Checkpoint(step, str(made), "end" if finished else "stop"))
    state = "finished" if finished else "stopped"
    result.report(
        run,
        {
            "run": run.name,
            "state": state,
            "method": spec.method,
            "objective": objective,
            "model": spec.model,
            "revision": commit_of(folder),
            "made": made.name,
            "steps": step,
            "steps_planned": tuner.state.max_steps,
            "epochs": tuner.state.epoch,
            "rows": len(built.train),
            "packs": len(train_on) if spec.packing else None,
            "data": built.counts,
            "held_out_rows": len(held_out),
            "loss_first": watch.losses[0] if watch.losses else None,
            "loss_last": watch.losses[-1] if watch.losses else None,
            "held_out_loss": {str(at): loss for at, loss in watch.held_out.items()},
            "held_out_rewards": {str(at): told for at, told in watch.preferences.items()} or None,
            "tokens": watch.tokens,
            "training_seconds": watch.seconds,
            "seconds": time.time() - begun,
            "peak_gpu_bytes": watch.peak,
            "trained_parameters": models.trained_parameters(tuner.model),
            "device": torch.cuda.get_device_name() if where.kind == "cuda" else "cpu",
            "precision": where.precision,
            "engine": engine.told(),
            "template": built.template.name if built.template else None,
            "end_ids": end_ids,
            "seed": spec.seed,
            "shuffle": spec.shuffle,
            "versions": course.versions,
        },
    )
    if finished and watch.peak and resumed is None:
        remembered.of_run(spec, course.settled, engine, train_on, steps, torch.cuda.get_device_name(), watch)
    return End(state, "" if finished else f"as asked, after step {step} of {tuner.state.max_steps}")


def within(rows: Iterable[Any], tokens: int) -> list[Any]:
    """The first rows that together have at most so many tokens, and at least one row."""
    taken: list[Any] = []
    total = 0
    for row in rows:
        total += len(row["input_ids"])
        if taken and total > tokens:
            break
        taken.append(row)
    return taken


def commit_of(folder: Path) -> str | None:
    """The commit of a Hub snapshot, whose folder is named by it."""
    return folder.name if folder.parent.name == "snapshots" else None


def as_event(finding: Any) -> Finding:
    """A finding of the data as the run tells it."""
    return Finding(finding.severity, finding.code, finding.message, "", finding.todo or "")


def _one_gpu_finding(count: int) -> Finding:
    return Finding(
        "warn",
        "one-gpu",
        f"{count} GPUs were given, the first alone is used",
        "this version trains on one GPU",
    )


if __name__ == "__main__":
    main()
