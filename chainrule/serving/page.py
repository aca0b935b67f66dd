# SPDX-License-Identifier: Apache-2.0
"""A page to try the models: fill in a row or a text, or drop a file. It loads nothing from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from .schema import example
from .served import Served

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
section { border: 1px solid #ccc; border-radius: 8px; padding: 1rem; margin: 1rem 0 }
label { display: block; margin: .4rem 0 }
input[type=text], textarea { width: 100%; box-sizing: border-box; font: inherit; padding: .3rem }
textarea { font: 13px/1.4 ui-monospace, monospace; height: 8rem; margin-top: .6rem }
.drop { border: 2px dashed #999; border-radius: 8px; padding: 1.5rem; text-align: center; color: #555 }
.drop.over { background: #eef4ff }
button { font: inherit; padding: .3rem 1rem }
pre { background: #f5f5f5; padding: .6rem; overflow: auto; max-height: 20rem }
td { padding: .1rem .6rem }
.bar { background: #4477aa; height: .8rem }
"""
SCRIPT = """
function show(out, text, failed) {
  const pre = document.createElement('pre');
  pre.textContent = text;
  if (failed) pre.style.color = '#a00';
  out.replaceChildren(pre);
}
function bars(out, rows) {
  const table = document.createElement('table');
  for (const [name, p] of rows) {
    const row = table.insertRow(), bar = document.createElement('div');
    row.insertCell().textContent = name;
    row.insertCell().textContent = (100 * p).toFixed(1) + ' %';
    bar.className = 'bar';
    bar.style.width = (200 * p) + 'px';
    row.insertCell().append(bar);
  }
  out.replaceChildren(table);
}
async function told(out, response) {
  const answer = await response.json();
  if (!response.ok) return show(out, answer.error, true);
  const alone = answer.predictions && answer.predictions.length === 1 && answer.predictions[0].probabilities;
  if (alone) return bars(out, Object.entries(alone).sort((a, b) => b[1] - a[1]).slice(0, 10));
  show(out, JSON.stringify(answer, null, 1));
}
for (const section of document.querySelectorAll('section')) {
  const address = `/v2/models/${encodeURIComponent(section.dataset.name)}`;
  const out = section.querySelector('.out'), drop = section.querySelector('.drop');
  const post = async (path, options) => told(out, await fetch(address + path, { method: 'POST', ...options }));
  const infer = body => post('/infer', { headers: { 'Content-Type': 'application/json' }, body });
  const upload = file => { const body = new FormData(); body.append('file', file); post('/files', { body }) };
  section.querySelector('form').onsubmit = event => {
    event.preventDefault();
    const area = section.querySelector('textarea'), texts = [...section.querySelectorAll('input[type=text]')];
    infer(area ? area.value : JSON.stringify({
      inputs: texts.map(x => ({ name: x.name, shape: [1], datatype: 'BYTES', data: [x.value] })) }));
  };
  if (!drop) continue;
  drop.ondragover = event => { event.preventDefault(); drop.classList.add('over') };
  drop.ondragleave = () => drop.classList.remove('over');
  drop.ondrop = event => { event.preventDefault(); drop.ondragleave(); upload(event.dataTransfer.files[0]) };
  drop.querySelector('input').onchange = event => event.target.files[0] && upload(event.target.files[0]);
}
"""


def page(models: Sequence[Served]) -> str:
    """The page, as one text of HTML."""
    sections = "".join(map(_section, models))
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            "content='width=device-width'><title>chainrule</title>"
            f"<style>{STYLE}</style><h1>chainrule</h1>{sections}<p><a href=/openapi.json>description of the "
            "interface</a> · <a href=/metrics>metrics</a></p>"
            f"<script>{SCRIPT}</script></html>")


def _section(model: Served) -> str:
    name = html.escape(model.name, quote=True)
    texts = all(field.datatype == "BYTES" for field in model.inputs)
    fields = "".join(f'<label>{html.escape(x.name)}<input type=text name="{html.escape(x.name, quote=True)}"></label>'
                     for x in model.inputs) if texts \
        else f"<textarea>{html.escape(json.dumps(example(model)))}</textarea>"
    drop = "" if model.of_file is None else "<div class=drop>drop a file here, or <input type=file></div>"
    return (f'<section data-name="{name}"><h2>{name}</h2>{drop}<form>{fields}<p><button>ask</button></p></form><div '
            'class=out></div></section>')
