"""Evaluating CIFAR-10's 10,000 test images with `model-s-02`: Foveal, plain eager PyTorch and Keras.

    foveal data get cifar10 cifar10
    python benchmarks/evaluation.py cifar10
    python benchmarks/evaluation.py cifar10 --quick
    python benchmarks/evaluation.py cifar10 --tensorflow 2.15=DIR current=DIR

Each contender is a living process that has warmed up (see `contender.py`); they take turns. Foveal, there
twice, once with compilers hidden, and PyTorch have the images decoded in memory or mapped. Keras runs
`model.evaluate` in two ways: on the test folder, as the notebook does, which decodes the images each time;
and on the same batches kept in memory (`cache()`), which is the harder comparison. All compute the mean loss
and the accuracy.

Writes `benchmarks/results/speed/evaluation.json`. About five minutes; `--quick` takes one.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import record
from contender import Contender
from record import FOUND, HIDDEN, Record, spread, times_as_fast


def main() -> None:
    """Measure, write and print."""
    parser = record.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="of evaluations, each contender in turn")
    asked = parser.parse_args()
    result = Record("evaluation", parser, asked)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_contenders:
        contenders = [*record.start_foveal(asked, "train", Path(folder)), record.start_torch(asked)]
        turns = [(each.name, each, "evaluate") for each in contenders]
        for name, words in record.notebooks(asked, "evaluate").items():
            contender = Contender(name, words)
            contenders.append(contender)
            turns += [(f"{name}, folder", contender, "evaluate")]
            turns += [(f"{name}, in memory", contender, "evaluate cached")]
        for each in contenders:
            open_contenders.enter_context(each)
        result.write(contenders=record.about(contenders))
        for _, contender, do in turns[:3]:
            contender.ask(do)  # the first time is warming up; the notebook's has had it
        seconds: dict[str, list[float]] = {name: [] for name, _, _ in turns}
        answers: list[dict[str, Any]] = []
        for number in range(2 if asked.quick else asked.rounds):
            for name, contender, do in turns if number % 2 == 0 else reversed(turns):
                answer = contender.ask(do)
                answers.append({"contender": name, "round": number, **answer})
                seconds[name].append(answer["seconds"])
            result.write(answers=answers)
    figures = {f"{name}: seconds": spread(each) for name, each in seconds.items()}
    for name in (FOUND, HIDDEN):
        for other, _, _ in turns[2:]:
            figures[f"{name} against {other}"] = times_as_fast(seconds[name], seconds[other])
    result.finish(figures)


if __name__ == "__main__":
    main()
