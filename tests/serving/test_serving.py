# SPDX-License-Identifier: Apache-2.0
"""Served models answer as they do in Python, whatever is asked together; hostile requests are told what is wrong, and
nothing falls over."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving.asked import Answer, ask
from typer.testing import CliRunner

import chainrule as cr
from chainrule import nn
from chainrule.cli.app import app as command
from chainrule.errors import ArgumentError

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")
pytest.importorskip("multipart")

from chainrule.serving import Limits, Served, application, served
from chainrule.serving.batching import Batcher
from chainrule.serving.protocol import HEADER

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype("float32")


def post(name: str, content: Any) -> tuple[str, str, bytes]:
    return "POST", f"/v2/models/{name}/infer", content if isinstance(content, bytes) else json.dumps(content).encode()


def tensor(name: str, array: np.ndarray, datatype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.tolist()}


def body(x: np.ndarray = X[:3], **more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("input", x, "FP32")], **more}


def outputs(answer: Answer) -> dict[str, np.ndarray]:
    assert answer.status == 200, answer.body
    return {o["name"]: np.array(o["data"], object if o["datatype"] == "BYTES" else "float32").reshape(o["shape"])
            for o in answer.json["outputs"]}


@pytest.fixture(scope="module")
def lines() -> nn.Module:
    return nn.Sequential([nn.Dense(8, activation="relu", input_shape=(4,)), nn.BatchNorm(), nn.Dense(3)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of images, and one of a table."""
    room = tmp_path_factory.mktemp("runs")
    table = room / "fruit.csv"
    rows = [f"{v:.2f},{'red' if v > 0 else 'green'},{'apple' if v > 0.3 else 'pear'}" for v in RNG.standard_normal(120)]
    table.write_text("\n".join(["size,colour,fruit", *rows]))
    for name, source in (("digits", "digits"), ("fruit", table)):
        result = CliRunner().invoke(command, ["train", str(source), "--epochs", "1", "--progress", "none", "--output",
                                              str(room / name)])
        assert result.exit_code == 0, result.output
    return {"digits": room / "digits", "fruit": room / "fruit"}


# ---- right answers


def test_a_module_answers_as_in_python(lines: nn.Module) -> None:
    app = application([served(lines, "lines")])
    expected = np.asarray(cr.predict(lines, X))
    flat = body() | {"id": "7"}
    flat["inputs"][0]["data"] = X[:3].reshape(-1).tolist()
    answers = ask(app, post("lines", body(X)), post("lines", flat),
                  post("lines", body(X[:1], outputs=[{"name": "output"}])))
    for answer, x in zip(answers, (expected, expected[:3], expected[:1]), strict=True):
        np.testing.assert_allclose(outputs(answer)["output"], x, rtol=1e-6, atol=1e-7)
    assert answers[1].json["id"] == "7" and "id" not in answers[0].json
    assert answers[0].json["model_name"] == "lines" and answers[0].json["model_version"] == "1"


def test_binary_tensors(lines: nn.Module) -> None:
    text = json.dumps({"inputs": [{"name": "input", "shape": [5, 4], "datatype": "FP32",
                                   "parameters": {"binary_data_size": 80}}],
                       "outputs": [{"name": "output", "parameters": {"binary_data": True}}]}).encode()
    app = application([served(lines, "lines")])
    answer, = ask(app, post("lines", text + X[:5].tobytes()), headers={HEADER: str(len(text))}, pieces=3)
    size = int(answer.headers[HEADER.lower()])
    entry, = json.loads(answer.body[:size])["outputs"]
    found = np.frombuffer(answer.body[size:], "<f4").reshape(entry["shape"])
    assert entry["parameters"]["binary_data_size"] == found.nbytes and np.array_equal(
        found, np.asarray(cr.predict(lines, X[:8]))[:5]
    )


def test_runs_answer_as_in_python(runs: dict[str, Path]) -> None:
    digits, fruit = cr.load(runs["digits"]), cr.load(runs["fruit"])
    app = application([served(path) for path in runs.values()])
    x = cr.data.digits().x_test[:4]
    columns = {"size": np.array([0.5, -1.0]), "colour": np.array(["red", "green"], object)}
    table = {"inputs": [tensor("size", columns["size"], "FP64"), tensor("colour", columns["colour"], "BYTES")]}
    told = {"inputs": [tensor(k, np.array([str(v) for v in column], object), "BYTES") for k, column in columns.items()]}
    images, rows, texts = ask(app, post("digits", {"inputs": [tensor("input", x, "UINT8")]}), post("fruit", table),
                              post("fruit", told))
    assert outputs(images)["class"].tolist() == digits.predict(x).tolist()
    np.testing.assert_allclose(outputs(images)["probabilities"], digits.predict_proba(x), rtol=1e-5, atol=1e-7)
    expected = fruit.predict_proba([{"size": 0.5, "colour": "red"}, {"size": -1.0, "colour": "green"}])
    for answer in (rows, texts):
        np.testing.assert_allclose(outputs(answer)["probabilities"], expected, rtol=1e-5, atol=1e-7)


def test_tasks_answer_as_in_python(tmp_path: Path) -> None:
    words = ["good fun", "great film", "good film", "great fun", "bad plot", "dull film", "bad end", "dull plot"] * 4
    text = cr.tasks.TextClassifier(epochs=2).fit((words, (["yes"] * 4 + ["no"] * 4) * 4))
    cells = {"size": RNG.normal(size=200), "colour": RNG.choice(["red", "blue"], 200)}
    rows = cr.tasks.TabularRegressor(target="price", epochs=2).fit({**cells, "price": cells["size"] * 2})
    images = cr.tasks.ImageClassifier(epochs=1).fit(cr.data.digits())
    x = cr.data.digits().x_test[:3]
    path = cr.save(text, tmp_path / "moods.safetensors")
    app = application([served(path), served(rows, "prices"), served(images, "numbers")])
    numbers, = ask(app, post("numbers", {"inputs": [tensor("input", x, "UINT8")]}))
    np.testing.assert_allclose(outputs(numbers)["probabilities"], images.predict_proba(x), rtol=1e-4, atol=1e-6)
    asked = np.array(["good plot", "dull end", ""], object)
    moods, prices = ask(app, post("moods", {"inputs": [tensor("text", asked, "BYTES")]}),
                        post("prices", {"inputs": [tensor("size", np.array([1.0, 2.0]), "FP64"),
                                                   tensor("colour", np.array(["red", "blue"], object), "BYTES")]}))
    assert outputs(moods)["class"].tolist() == text.predict(asked.tolist()).tolist()
    np.testing.assert_allclose(outputs(moods)["probabilities"], text.predict_proba(asked.tolist()), rtol=1e-4,
                               atol=1e-6)
    np.testing.assert_allclose(outputs(prices)["prediction"][:, 0],
                               rows.predict({"size": [1.0, 2.0], "colour": ["red", "blue"]}), rtol=1e-5)


def test_requests_together_are_one_batch_and_have_their_own_answers(lines: nn.Module) -> None:
    seen: list[int] = []
    free = threading.Event()

    def slow(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        free.wait(10)
        seen.append(len(arrays["input"]))
        return {"output": arrays["input"] * 2}
    batcher = Batcher(slow, most=16)
    first = batcher.submit({"input": X[:1]})
    time.sleep(0.1)
    futures = [batcher.submit({"input": X[i:i + 2]}) for i in range(10)]
    other = batcher.submit({"input": X[:2, :3]})
    free.set()
    assert np.array_equal(first.result(10)["output"], X[:1] * 2)
    for i, future in enumerate(futures):
        assert np.array_equal(future.result(10)["output"], X[i:i + 2] * 2)
    assert np.array_equal(other.result(10)["output"], X[:2, :3] * 2)
    batcher.close()
    assert seen == [1, 16, 4, 2]  # 20 rows of ten requests: 16 and 4


def test_a_bad_request_in_a_batch_harms_no_other() -> None:
    def choosy(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(0.05)
        if (arrays["x"] < 0).any():
            raise ArgumentError("negative")
        return {"y": arrays["x"]}
    batcher = Batcher(choosy, delay=0.2)
    good, bad, last = (batcher.submit({"x": np.array([v])}) for v in (1.0, -1.0, 2.0))
    assert good.result(10)["y"] == 1 and last.result(10)["y"] == 2
    with pytest.raises(ArgumentError, match="negative"):
        bad.result(10)
    batcher.close()


def test_files(runs: dict[str, Path], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    x = cr.data.digits().x_test[0]
    content = io.BytesIO()
    image.fromarray(x[:, :, 0]).save(content, format="PNG")
    app = application([served(path) for path in runs.values()])
    table = b"size,colour\n0.5,red\n-1.0,green\n"
    picture, = ask(app, ("POST", "/v2/models/digits/files", form("seven.png", content.getvalue())), headers=FORM)
    rows, wrong = ask(app, ("POST", "/v2/models/fruit/files", form("more.csv", table)),
                      ("POST", "/v2/models/digits/files", form("a.png", table)), headers=FORM)
    assert [p["class"] for p in picture.json["predictions"]] == cr.load(runs["digits"]).predict(x).tolist()
    assert rows.status == 200, rows.body
    assert [p["class"] for p in rows.json["predictions"]] == cr.load(runs["fruit"]).predict(
        [{"size": 0.5, "colour": "red"}, {"size": -1, "colour": "green"}]
    ).tolist()
    assert wrong.status == 400 and "the file (.png)" in wrong.json["error"] and "/tmp" not in wrong.json["error"]


FORM = {"Content-Type": "multipart/form-data; boundary=cut"}


def form(name: str, content: bytes) -> bytes:
    head = (f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: '
            'application/octet-stream\r\n\r\n')
    return head.encode() + content + b"\r\n--cut--\r\n"


# ---- what a server says of itself


def test_metadata_health_description_metrics_and_page(lines: nn.Module, runs: dict[str, Path]) -> None:
    models = [served(lines, "a<b"), served(runs["fruit"])]
    app = application(models)
    paths = ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/a<b",
             "/v2/models/fruit/versions/1/ready", "/openapi.json", "/", "/v2/models/none")
    server, live, ready, listed, metadata, versioned, described, page, none = ask(
        app, *(("GET", path, b"") for path in paths)
    )
    assert server.json["name"] == "chainrule" and live.json["live"] and ready.json["ready"] and versioned.json["ready"]
    assert metadata.json == {"name": "a<b", "versions": ["1"], "platform": "chainrule_model",
                             "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
                             "outputs": [{"name": "output", "datatype": "FP32", "shape": [-1, 3]}]}
    assert listed.json["models"][0] == metadata.json and none.status == 404 and "a<b, fruit" in none.json["error"]
    for model in models:  # each example in the description is answered
        asked = described.json["paths"][f"/v2/models/{model.name}/infer"]["post"]["requestBody"]["content"][
            "application/json"
        ]["example"]
        assert ask(app, post(model.name, asked))[0].status == 200
    text = page.body.decode()
    assert "a&lt;b" in text and "a<b" not in text and "http://" not in text and "https://" not in text
    counted, = ask(app, ("GET", "/metrics", b""))
    assert 'chainrule_requests_total{model="fruit",status="200"}' in counted.body.decode()
    assert 'chainrule_requests_total{model="",status="404"} 1.0' in counted.body.decode()


# ---- limits and hostile requests

HOSTILE = {
    "nothing": b"", "no JSON": b"{", "a list": b"[]", "a number": b"3", "no inputs": b"{}",
    "inputs that are none": b'{"inputs": 3}', "inputs of numbers": b'{"inputs": [3]}',
    "not UTF-8": b'{"inputs": "\xff"}', "nested": b'{"inputs":' + b"[" * 100_000,
    "nested data": json.dumps(body() | {"inputs": [tensor("input", X[:1], "FP32") | {"data": [[[[[1]]]]]}]}).encode(),
    "deep data": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": ' + b"[" * 200 + b"]"
    * 200 + b"}]}",
    "NaN": json.dumps(body(np.full((1, 4), np.nan))).encode(),
    "infinity": json.dumps(body(np.full((1, 4), np.inf))).encode(),
    "too large a number": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1e400, 0, 0, '
                          b'0]}]}',
    "a shape that lies": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1000000000, 4], "data": [1]}]}',
    "a negative shape": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, -4], "data": [1, 2, 3, 4]}]}',
    "no shape": b'{"inputs": [{"name": "input", "datatype": "FP32", "data": [1]}]}',
    "texts": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": ["a", "b", "c", "d"]}]}',
    "truths": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [true, true, true, true]}]}',
    "another shape": json.dumps(body(X[:2, :3])).encode(),
    "another rank": json.dumps(body(X[0])).encode(), "no rows": json.dumps(body(X[:0])).encode(),
    "another datatype": json.dumps({"inputs": [tensor("input", X[:1].astype(str), "BYTES")]}).encode(),
    "no datatype": b'{"inputs": [{"name": "input", "shape": [1, 4], "data": [1, 2, 3, 4]}]}',
    "unknown datatype": json.dumps({"inputs": [tensor("input", X[:1], "FP8")]}).encode(),
    "another name": json.dumps({"inputs": [tensor("x", X[:1], "FP32")]}).encode(),
    "the same name": json.dumps({"inputs": [tensor("input", X[:1], "FP32")] * 2}).encode(),
    "an output that is none": json.dumps(body(outputs=[{"name": "z"}])).encode(),
    "outputs that are none": json.dumps(body(outputs=3)).encode(),
    "an id that is none": json.dumps(body(id=3)).encode(),
    "bytes that are not there": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "parameters": '
                                b'{"binary_data_size": 16}}]}',
    "a negative size": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "parameters": '
                       b'{"binary_data_size": -16}}]}',
    "half a character": b'{"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1], "data": ["\\ud800"]}]}',
    "ragged": b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1, [2, 3, 4]]}]}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_told_what_is_wrong(name: str, lines: nn.Module) -> None:
    app = application([served(lines, "lines")])
    bad, good = ask(app, post("lines", HOSTILE[name]), post("lines", body()))
    assert bad.status == 400 and bad.json["error"] and "  at  " not in bad.json["error"]
    assert good.status == 200


def test_bytes_that_are_no_number(lines: nn.Module) -> None:
    text = json.dumps({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32",
                                   "parameters": {"binary_data_size": 16}}]}).encode()
    bad, = ask(application([served(lines, "lines")]), post("lines", text + np.full(4, np.nan, "<f4").tobytes()),
               headers={HEADER: str(len(text))})
    assert bad.status == 400 and "NaN or infinity" in bad.json["error"]


def test_a_body_that_comes_too_slowly_is_ended(lines: nn.Module) -> None:
    app = application([served(lines, "lines")], Limits(seconds=0.2, waiting=1))
    slow, = ask(app, post("lines", body()), pause=0.2, pieces=10)
    again, = ask(app, post("lines", body()))
    assert slow.status == 504 and again.status == 200


def test_many_rows_have_few_sizes() -> None:
    from chainrule.serving.batching import filled

    sizes = {len(filled({"x": np.arange(rows)}, rows, 64)["x"]) for rows in range(1, 300)}
    assert sizes == {1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 320}


@pytest.mark.parametrize("header", ["-1", "x", "99999", "10", "9" * 30, ""])
def test_a_header_that_lies(header: str, lines: nn.Module) -> None:
    bad, = ask(application([served(lines, "lines")]), post("lines", body()), headers={HEADER: header})
    assert bad.status == 400 and bad.json["error"]


def test_damaged_requests_are_never_our_fault(lines: nn.Module) -> None:
    rng = np.random.default_rng(1)
    whole = json.dumps(body(X[:2], id="a", outputs=[{"name": "output"}])).encode()
    asked = []
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.choice(list(b'{}[]",:0123456789.-eatrufnl \xff'))
        start, stop = sorted(rng.integers(0, len(damaged), 2))
        asked.append(post("lines", bytes(damaged if rng.random() < 0.7 else damaged[:start] + damaged[stop:])))
    statuses = {answer.status for answer in ask(application([served(lines, "lines")]), *asked)}
    assert statuses <= {200, 400} and 400 in statuses


def test_limits(lines: nn.Module) -> None:
    free = threading.Event()

    def stuck(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        free.wait(20)
        return {"output": arrays["input"]}
    plain = served(lines, "lines")
    slow = Served("slow", "chainrule_model", plain.inputs, plain.outputs, stuck)
    app = application([plain, slow], Limits(bytes=2000, seconds=0.3, waiting=3))
    large, said = ask(app, post("lines", b"x" * 3000), post("lines", body()), pieces=7)
    assert large.status == 413 and said.status == 200
    declared, = ask(app, post("lines", b"x"), headers={"Content-Length": str(2**60)})
    assert declared.status == 413
    timer = threading.Timer(1.0, free.set)
    timer.start()
    statuses = sorted(answer.status for answer in ask(app, *[post("slow", body())] * 5))
    timer.join()
    assert statuses == [503, 503, 504, 504, 504]
    for options in ({"bytes": 0}, {"seconds": -1}, {"waiting": 0}, {"delay": 40}, {"batch": 0}):
        with pytest.raises(ArgumentError):
            Limits(**options)


def test_what_cannot_be_served(lines: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="name of its own"):
        application([served(lines, "a"), served(lines, "a")])
    with pytest.raises(ArgumentError, match="not known"):
        served(nn.Dense(2))
    with pytest.raises(ArgumentError, match="form of its own"):
        served(cr.tasks.Forecaster())
    with pytest.raises(ArgumentError, match="cannot be served"):
        served(3)  # type: ignore[arg-type]
    result = CliRunner().invoke(command, ["serve", str(tmp_path / "none")])
    assert result.exit_code and "none" in str(result.exception)


# ---- a real server


def test_the_command_serves_and_ends_when_it_is_told(runs: dict[str, Path]) -> None:
    pytest.importorskip("uvicorn")
    process = subprocess.Popen([sys.executable, "-m", "chainrule", "serve", f"numbers={runs['digits']}", "--port", "0"],
                               stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split()[0]
        x = cr.data.digits().x_test[:2]
        request = urllib.request.Request(f"{address}/v2/models/numbers/infer",
                                         json.dumps({"inputs": [tensor("input", x, "UINT8")]}).encode())
        with urllib.request.urlopen(request, timeout=60) as response:
            found = json.load(response)["outputs"][0]["data"]
        assert found == cr.load(runs["digits"]).predict(x).tolist()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
