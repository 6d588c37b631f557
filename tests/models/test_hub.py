"""Every way in which the Hub refuses a model becomes its own line; what it gives becomes a shape."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from core.errors import UserError
from core.models import hub
from core.models.shape import read_shape
from tests.models.test_shape import LLAMA, LLAMA_PARAMETERS

GATED = "acme/gated-model"


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_CACHE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def made(kind: type[Exception], status: int, text: str = "") -> Exception:
    """An error of huggingface_hub as it looks from outside: class, status of the response, and words."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.response = SimpleNamespace(status_code=status, headers={})  # type: ignore[attr-defined]
    return error


def said(error: Exception, model: str = GATED) -> UserError:
    found = hub.explain(error, model)
    assert "\n" not in found.line()
    return found


def test_gated_is_told_apart(monkeypatch):
    no_login = said(made(errors.GatedRepoError, 401))
    assert "not logged in" in no_login.why and "hf auth login" in no_login.todo
    assert f"https://huggingface.co/{GATED}" in no_login.todo
    monkeypatch.setenv("HF_TOKEN", "a-token")
    refused = said(made(errors.GatedRepoError, 401))
    assert "does not accept your token" in refused.why
    scope = said(made(errors.GatedRepoError, 403, "enable access in your fine-grained token settings"))
    assert "may not read gated" in scope.why and "settings/tokens" in scope.todo
    licence = said(made(errors.GatedRepoError, 403, "you are not in the authorized list"))
    assert "licence" in licence.why and f"https://huggingface.co/{GATED}" in licence.todo
    waiting = said(made(errors.GatedRepoError, 403, "your request is awaiting a review"))
    assert "waits" in waiting.why
    assert len({one.line() for one in (no_login, refused, scope, licence, waiting)}) == 5
    assert all(one.code == 1 for one in (no_login, refused, scope, licence, waiting))


def test_a_misspelt_id_names_the_nearest():
    found = said(made(errors.RepositoryNotFoundError, 404), "Qwen/Qwen3-0.6")
    assert found.code == 2 and "did you mean Qwen/Qwen3-0.6B?" in found.todo


def test_a_gated_model_that_is_hidden_without_login_is_not_called_misspelt():
    found = said(made(errors.RepositoryNotFoundError, 401), "meta-llama/Llama-3.1-8B")
    assert "gated" in found.what


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (made(errors.RevisionNotFoundError, 404), "no such revision"),
        (made(errors.HfHubHTTPError, 429), "too many requests"),
        (made(errors.HfHubHTTPError, 503), "answers 503"),
        (made(errors.HfHubHTTPError, 401), "does not accept the token"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (errors.HFValidationError("bad id"), "no Hub id looks like this"),
        (errors.LocalEntryNotFoundError("no"), "no network"),
        (ConnectionError("reset"), "no network"),
        (RuntimeError("odd\nthing"), "odd"),
    ],
)
def test_each_other_refusal_is_one_line(error, words):
    assert words in said(error).line()


def test_no_network_is_said_within_five_seconds(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        hub.read_remote("acme/some-model")
    assert time.monotonic() - start < 5
    assert "no network" in caught.value.line() and caught.value.code == 1


@pytest.fixture
def remote(monkeypatch, tmp_path):
    """A Hub with one model."""

    def install(config: dict, parameters: dict[str, int] | None, files: dict[str, int]) -> None:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(config))
        info = SimpleNamespace(
            sha="abc",
            siblings=[SimpleNamespace(rfilename=name, size=size) for name, size in files.items()],
            safetensors=SimpleNamespace(parameters=parameters) if parameters else None,
            config={"tokenizer_config": {"chat_template": "x"}},
        )
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, *a, **k: info)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: str(file))

    return install


def test_a_model_of_the_hub_is_counted_by_the_hub_where_its_files_have_no_headers(remote):
    files = {"config.json": 1, "pytorch_model.bin": 999, "tokenizer.json": 5, "original/x.safetensors": 7}
    remote({**LLAMA, "model_type": "unheard-of"}, {"BF16": 12_345}, files)
    shape = read_shape("acme/some-model")
    assert (shape.parameters, shape.weight_bytes, shape.has_tokenizer) == (12_345, 999, True)
    assert shape.has_template is True and not shape.estimated


def test_a_tied_head_that_is_stored_twice_counts_once(remote):
    remote(LLAMA, {"BF16": LLAMA_PARAMETERS + 6400}, {"config.json": 1, "pytorch_model.bin": 9})
    assert read_shape("acme/some-model").parameters == LLAMA_PARAMETERS


def test_a_repository_without_a_config_is_no_model_here(remote):
    remote(LLAMA, None, {"model.gguf": 5})
    with pytest.raises(UserError, match=r"no config\.json on the Hub"):
        read_shape("acme/some-gguf")


def test_what_is_in_the_cache_needs_no_network(monkeypatch, tmp_path):
    repository = tmp_path / "hf/hub/models--acme--cached"
    snapshot = repository / "snapshots/abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    assert hub.cached_folder("acme/cached") == snapshot
    assert read_shape("acme/cached").parameters == LLAMA_PARAMETERS
    assert hub.cached_folder("acme/cached", "other") is None
    assert hub.cached_folder("acme/cached", "abc") == Path(snapshot)


def test_a_config_alone_in_the_cache_does_not_stand_for_the_model(remote, monkeypatch, tmp_path):
    remote({**LLAMA, "hidden_size": 128}, {"BF16": 12_345}, {"config.json": 1, "pytorch_model.bin": 9})
    snapshot = tmp_path / "hf/hub/models--acme--cached/snapshots/abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "hf/hub/models--acme--cached/refs").mkdir()
    (tmp_path / "hf/hub/models--acme--cached/refs/main").write_text("abc")
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    assert read_shape("acme/cached").has_weights, "the Hub has them"
    refused = UserError("acme/cached is gated", "your account has not accepted its licence", "accept it")
    monkeypatch.setattr(hub, "read_remote", lambda *_: (_ for _ in ()).throw(refused))
    with pytest.raises(UserError, match="gated"):
        read_shape("acme/cached")
