"""Evaluating CIFAR-10's 10,000 test images with `model-s-02`: Foveal, plain eager PyTorch and Keras.

    foveal data get cifar10 cifar10
    python -m benchmarks.speed.evaluation cifar10
    python -m benchmarks.speed.evaluation cifar10 --quick
    python -m benchmarks.speed.evaluation cifar10 --tensorflow 2.15=DIR current=DIR

Each contender is a process that has warmed up (see `peers/contender.py`); they take turns. Foveal takes part
twice, once with compilers hidden. Foveal and PyTorch have the images decoded in memory or mapped. Keras runs
`model.evaluate` in two ways: on the test folder, as the notebook does, which decodes the images each time;
and on the same batches kept in memory (`cache()`), which is the harder comparison. All compute the mean
loss and the accuracy.

Writes `benchmarks/results/speed/evaluation.json`. About five minutes; `--quick` takes one.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measurement.record import (
    Figures,
    Measurement,
    Record,
    create_timing_parser,
    summarise,
    summarise_ratios,
)
from benchmarks.peers import launch
from benchmarks.peers.contender import Contender
from benchmarks.peers.launch import WITH_COMPILER, WITHOUT_COMPILER


def main() -> None:
    """Measure, write and print."""
    parser = create_timing_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="of evaluations, each contender in turn")
    args = parser.parse_args()
    result = Record("evaluation", parser, args)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contenders = [*launch.start_foveal(args, "train", Path(folder)), launch.start_torch(args)]
        turns = [(contender.name, contender, "evaluate") for contender in contenders]
        for name, words in launch.notebook_commands(args, "evaluate").items():
            contender = Contender(name, words)
            contenders.append(contender)
            turns += [(f"{name}, folder", contender, "evaluate")]
            turns += [(f"{name}, in memory", contender, "evaluate cached")]
        for contender in contenders:
            stack.enter_context(contender)
        result.write(contenders=launch.describe_contenders(contenders))
        for _, contender, request in turns[:3]:
            contender.ask(request)  # The first time warms up; the notebook's contenders have done that.
        seconds: dict[str, list[float]] = {name: [] for name, _, _ in turns}
        answers: list[Measurement] = []
        for number in range(2 if args.quick else args.rounds):
            for name, contender, request in turns if number % 2 == 0 else reversed(turns):
                answer = contender.ask(request)
                answers.append({"contender": name, "round": number, **answer})
                seconds[name].append(answer["seconds"])
            result.write(answers=answers)
    figures: Figures = {f"{name}: seconds": summarise(values) for name, values in seconds.items()}
    for name in (WITH_COMPILER, WITHOUT_COMPILER):
        for other, _, _ in turns[2:]:
            figures[f"{name} against {other}"] = summarise_ratios(seconds[name], seconds[other])
    result.finish(figures)


if __name__ == "__main__":
    main()
