import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from contextlab import catalogue, claims, runs, training
from contextlab.training import checkpoints


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No run of the reader's and none of the repository's."""
    monkeypatch.setenv("CONTEXTLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(tmp_path / "shipped"))
    monkeypatch.setenv("CONTEXTLAB_BUDGET", "smoke")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run at the smoke budget, in a folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTEXTLAB_HOME", str(folder / "home"))
        config = runs.streets("squeeze_excite", budget="smoke")
        return runs.train(config, folder / "runs" / f"{config.name}.json")


def copy_of(run, folder):
    """The files of a run, somewhere else."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in run.weights.parent.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / f"{run.config.name}.json"


def same_figures(one, other):
    a, b = one.metrics.to_dict(), other.metrics.to_dict()
    return a == b  # nan is None there


def test_the_course_setting():
    config = runs.streets(budget="quick")
    recipe = config.train_recipe()
    assert (recipe.steps, recipe.batch, recipe.lr, recipe.warmup) == (800, 16, 4e-3, 30)
    assert (recipe.optimiser, recipe.weight_decay, recipe.power) == ("adamw", 1e-4, 0.9)
    assert recipe.flip and recipe.channels_last and recipe.scale is None
    assert (config.pool, config.images, config.split) == (4000, 500, "val")
    assert (config.width, config.kernel, config.auxiliary, config.dropout) == (64, 1, False, 0.0)
    assert set(config.data_options.values()) == {1.0}
    full = runs.streets(budget="full")
    assert (full.recipe["steps"], full.pool, full.images) == (4000, 16000, 500)


def test_knobs_name_the_demands_that_are_on():
    assert runs.streets(knobs={"p": 0.5}).data_options == {**dict.fromkeys("glca", 0.0), "p": 0.5}
    control = runs.streets(control=True)
    assert set(control.data_options.values()) == {0.0} and control == runs.streets(knobs={})
    assert "-control-" in control.name and "-gp-" in runs.streets(knobs={"g": 1, "p": 1}).name
    with pytest.raises(ValueError, match="knobs of g, l, p, c, a, got x"):
        runs.streets(knobs={"x": 1})


def test_every_value_is_in_the_hash():
    config = runs.streets("non_local", budget="quick")
    changes = {
        "data": "camvid", "data_options": {}, "backbone": "resnet18", "backbone_options": {"a": 1},
        "context": None, "context_options": {"heads": 2}, "width": 32, "kernel": 3,
        "auxiliary": True, "dropout": 0.1, "recipe": {"steps": 1}, "pool": 1, "split": "test",
        "images": 1, "network": "realtime", "network_options": {"a": 1}, "norm": "group",
        "frozen": True, "seed": 1, "budget": "full",
    }  # fmt: skip
    assert changes.keys() == runs.Config.__dataclass_fields__.keys()
    hashes = {replace(config, **{name: value}).hash for name, value in changes.items()}
    assert len(hashes | {config.hash}) == len(changes) + 1


def test_fields_that_came_later_leave_older_names_as_they_were():
    """The course's non-local run as it has always been called."""
    config = runs.streets("non_local", context_options={"scale": False}, budget="quick")
    assert config.name == "streets-non_local-glpca-quick-0-96ae4fe7447f"
    assert not {"network", "norm", "frozen"} & config.to_dict().keys()
    assert replace(config, frozen=True).to_dict()["frozen"] is True


def test_the_hash_survives_json_and_does_not_know_the_order():
    config = runs.camvid("non_local", budget="quick")
    again = runs.Config(**json.loads(json.dumps(config.to_dict())))
    shuffled = replace(config, recipe=dict(reversed(config.recipe.items())))
    assert config.hash == again.hash == shuffled.hash and again == config


def test_overrides_merge_into_the_recipe_and_are_checked():
    config = runs.streets(width=32, recipe={"steps": 7, "scale": (0.5, 2), "crop": (32, 32)})
    assert config.width == 32 and config.recipe["batch"] == 16
    assert config.train_recipe().steps == 7 and config.train_recipe().crop == (32, 32)
    with pytest.raises(ValueError, match="optimiser"):
        runs.streets(recipe={"optimiser": "adam"})
    with pytest.raises(TypeError, match="widht"):
        runs.streets(widht=32)


def test_equal_seeds_give_equal_first_weights_whatever_is_in_the_slot():
    torch.manual_seed(5)
    one = runs.build_network(runs.streets("non_local"), 13)
    other = runs.build_network(runs.streets("non_local"), 13)
    fcn, seed = (
        runs.build_network(c, 13) for c in (runs.streets(), runs.streets("non_local", seed=1))
    )
    weights = one.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in other.state_dict().items())
    assert all(
        torch.equal(weights[f"backbone.{k}"], v) for k, v in fcn.backbone.state_dict().items()
    )
    assert not torch.equal(one.classifier[-1].weight, seed.classifier[-1].weight)


def test_a_first_call_trains_a_second_one_loads(empty_home):
    config = runs.streets()
    first = runs.load_or_train(config)
    assert first.source == "trained now" and first.history.finished
    names = sorted(p.name for p in (empty_home / "runs").iterdir())
    assert names == [f"{config.name}.json", f"{config.name}.safetensors"]
    assert not (empty_home / "states" / config.name).exists()
    second = runs.load_or_train(config)
    assert second.source == "own" and same_figures(first, second)
    assert second.config == config and second.date == first.date
    assert second.machine == first.machine and second.spot_check == first.spot_check
    assert second.history.loss == pytest.approx(first.history.loss, rel=1e-6)
    assert second.history.lr == pytest.approx(first.history.lr)
    assert runs.load_or_train(config, retrain=True).source == "trained now"


def test_of_a_run_of_figures_alone_every_ten_losses_are_one(trained, tmp_path):
    config = replace(trained.config, recipe={**trained.config.recipe, "steps": 23})
    loss = [100.0 - i for i in range(23)]
    history = training.History(loss, [1.0] * 23, 1.0, 23)
    path = tmp_path / "run.json"
    runs.write(replace(trained, config=config, history=history, weights=None), path)
    found = runs.read(path, config).history
    assert found.loss == [95.5] * 10 + [85.5] * 10 + [79.0] * 3 and found.finished
    assert len(found.lr) == 23 and json.loads(path.read_text())["loss"] == [95.5, 85.5, 79.0]


def test_the_model_of_a_run_scores_what_the_run_says(trained):
    spot = training.evaluate(trained.model(), runs.build_data(trained.config), limit=32)
    assert spot.miou == trained.spot_check["miou"]
    assert spot.pixel_accuracy == trained.spot_check["pixel_accuracy"]
    assert not trained.model().training
    assert trained.weights.stat().st_size < 1e6


def test_own_runs_come_before_shipped_ones(trained, tmp_path, empty_home):
    shipped = copy_of(trained, tmp_path / "shipped")
    assert runs.load_or_train(trained.config).source == "shipped"
    assert not (empty_home / "runs").exists()
    copy_of(trained, empty_home / "runs")
    assert runs.load_or_train(trained.config).source == "own"
    assert shipped.is_file()


def test_an_interrupted_run_is_continued(trained, monkeypatch, empty_home):
    config = trained.config
    fit = training.fit

    def interrupted(*arguments, **options):
        fit(*arguments, **options, stop_after=2)
        raise KeyboardInterrupt("stopped")

    monkeypatch.setattr(training, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.load_or_train(config)
    state = empty_home / "states" / config.name
    assert checkpoints.newest(state).name == "state-00000002"
    monkeypatch.setattr(training, "fit", fit)
    run = runs.load_or_train(config)
    assert same_figures(run, trained) and not state.exists()
    assert run.weights.read_bytes() == trained.weights.read_bytes()


def test_a_kill_after_the_last_step_only_repeats_the_evaluation(trained, monkeypatch):
    evaluate = training.evaluate

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        runs.load_or_train(trained.config)
    monkeypatch.setattr(training, "evaluate", evaluate)
    run = runs.load_or_train(trained.config)
    assert run.history.seconds > 0 and same_figures(run, trained)


def change(path, edit):
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda f: f["config"].update(width=32), r"another configuration \(width\)"),
        (lambda f: f["config"]["recipe"].update(lr=1.0), r"another configuration \(recipe\)"),
        (lambda f: f["config"].update(widths=1), "not a whole run of this version"),
        (lambda f: f["config"].pop("data"), "not a whole run of this version"),
        (lambda f: f.pop("metrics"), "not a whole run of this version"),
        (lambda f: f["weights"].update(sha256="0"), "missing or not what .* was made with"),
        (lambda f: f["weights"].update(file="none"), "missing or not what .* was made with"),
    ],
)
def test_a_run_that_does_not_match_is_refused_with_the_remedy(trained, tmp_path, edit, message):
    path = copy_of(trained, tmp_path / "shipped")
    change(path, edit)
    with pytest.raises(ValueError, match=f"{message}.*: move it away and train the run anew"):
        runs.load_or_train(trained.config)


def test_cut_files_are_refused(trained, tmp_path):
    path = copy_of(trained, tmp_path / "shipped")
    weights = path.with_suffix(".safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="missing or not what"):
        runs.load_or_train(trained.config)
    weights.write_bytes(whole)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a whole run"):
        runs.load_or_train(trained.config)


def test_a_run_of_figures_alone_says_how_to_get_the_weights(tmp_path, empty_home):
    config = runs.streets(seed=1)
    made = runs.train(config, tmp_path / "shipped" / f"{config.name}.json", keep=False)
    assert [p.suffix for p in (tmp_path / "shipped").iterdir()] == [".json"]
    run = runs.load_or_train(config)
    assert run.source == "shipped" and same_figures(run, made)
    with pytest.raises(FileNotFoundError, match=r"figures alone.*retrain=True"):
        run.model()
    again = runs.load_or_train(config, retrain=True)
    assert same_figures(again, made) and not again.model().training
    assert runs.load_or_train(config).source == "own"


def test_a_shipped_run_is_a_line_with_its_weights_beside(trained, tmp_path):
    config, folder = trained.config, tmp_path / "shipped"
    made = runs.train(config, folder / "d1.jsonl", order=[config])
    assert sorted(p.name for p in folder.iterdir()) == ["d1.jsonl", f"{config.name}.safetensors"]
    found = runs.load_or_train(config)
    assert found.source == "shipped" and same_figures(found, made) and same_figures(found, trained)
    assert found.weights.read_bytes() == trained.weights.read_bytes()
    found.weights.write_bytes(b"")
    with pytest.raises(ValueError, match=r"missing or not what line 1 of .*d1\.jsonl was made"):
        runs.load_or_train(config)


def test_nothing_is_printed(capfd):
    runs.load_or_train(runs.streets(control=True))
    assert capfd.readouterr() == ("", "")


def test_figures_are_stored_to_the_last_digit(trained):
    path = trained.weights.with_suffix(".json")
    stored = json.loads(path.read_text())["metrics"]
    assert stored["miou"] == trained.metrics.miou
    present = [v for v in stored["iou"] if v is not None]
    assert math.fsum(present) / len(present) == trained.metrics.miou


def test_a_stored_run_names_no_place_of_the_machine(trained):
    text = trained.weights.with_suffix(".json").read_text()
    assert str(trained.weights.parent) not in text and "home" not in text


def test_camvid_budgets_shrink_to_a_proof():
    smoke, quick, full = (runs.camvid(budget=b) for b in ("smoke", "quick", "full"))
    assert smoke.recipe["steps"] < quick.recipe["steps"] < full.recipe["steps"]
    assert smoke.images == 8 and quick.images is None and quick.split == "test"
    assert quick.auxiliary and quick.recipe["optimiser"] == "adamw"


def test_the_shipped_list_has_what_the_lessons_compare():
    names = [config.name for config in claims.shipped()]
    assert len(set(names)) == len(names)
    wanted = [runs.streets(control=True, budget="quick"), runs.streets(budget="quick")]
    wanted += [runs.streets(knobs={k: 1}, budget="quick") for k in runs.KNOBS]
    wanted += [
        runs.streets(context, seed=seed, budget="quick")
        for context in ("non_local", "squeeze_excite")
        for seed in range(3)
    ]
    assert {config.name for config in wanted} <= set(names)
    assert all(config.budget == "quick" for config in claims.shipped())


def test_every_module_has_its_runs():
    """Three seeds with all demands: what the comparison of the family in lesson 06 shows."""
    shown = {
        (c.context, c.seed)
        for c in claims.shipped() + claims.planned()
        if (c.data, c.network) == ("streets", "fcn") and all(c.data_options.values())
    }
    assert shown >= {(name, seed) for name in (None, *catalogue()) for seed in range(3)}


def test_an_experiment_is_shipped_whole_and_compares_seed_by_seed():
    names = {config.name for config in claims.shipped()}
    planned = {config.name for config in claims.planned()}
    assert not names & planned
    for key, experiment in claims.EXPERIMENTS.items():
        cells = claims.configs(key)
        assert len(cells) > 1 and experiment.question.endswith("?")
        made = {c.name for found in cells.values() for c in found}
        assert made <= (names | planned if experiment.planned else names), key
        assert len({c.hash for found in cells.values() for c in found}) == len(cells) * len(
            experiment.seeds
        )
        for found in cells.values():
            assert tuple(c.seed for c in found) == experiment.seeds
    with pytest.raises(ValueError, match=r"an experiment of .*D1,.*got 'D99'"):
        claims.configs("D99")


def test_the_fair_plain_network_costs_what_the_fcn_costs():
    config, usual = runs.fair(seed=1, budget="quick"), runs.streets(seed=1, budget="quick")
    assert config.name == "streets-fcn-glpca-quick-1-48cca20fbf3b"
    assert replace(config, backbone_options={}) == usual
    one, other = (runs.build_network(c, 13) for c in (config, usual))
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (one, other)]
    assert shapes[0] == shapes[1]
    assert runs.fair(on=runs.far, budget="quick").backbone_options == {"dilation": [4, 8, 16]}
    assert claims.configs("plain")[runs.FAIR_NAME][1] == config
    with pytest.raises(ValueError, match="on streets and far streets, not on"):
        runs.fair(on=runs.camvid)


def test_far_streets_differ_from_the_course_in_the_data_alone():
    config, usual = (make("aspp", budget="quick") for make in (runs.far, runs.streets))
    assert config.name.startswith("far-aspp-glpca-quick-0-")
    assert replace(config, data_options=usual.data_options) == usual
    assert config.data_options == {**usual.data_options, "far": True}
    assert runs.far(control=True).name.startswith("far-fcn-control-")
    image, labels = runs.build_data(runs.far(budget="smoke"))[0]
    assert image.shape == (3, 128, 256) and labels.shape == (128, 256)


@pytest.mark.parametrize(
    "experiment, label, reached",
    [
        ("S9", "K = 8", lambda slot: slot.nodes == 8),
        ("S10", "P = C / 4", lambda slot: slot.theta.out_channels == 32),
        ("S5", "average, graph", lambda slot: slot.gamma is None),
        ("D3", "d = 2", lambda slot: slot.cell == 2),
        ("D8", "sequential", lambda slot: slot.fusion == "sequential"),
    ],
)
def test_options_of_modules_reach_the_head_over_local_features(experiment, label, reached):
    """Each is another run than the module as it is, and another module over the same map."""
    cells = claims.configs(f"{experiment}, CamVid, local")
    config, usual = cells[label][2], next(iter(cells.values()))[2]
    bare = replace(config, context_options={})
    assert len({config.hash, bare.hash, usual.hash}) == 3 - (bare == usual)
    assert any(c[0].context is None for c in cells.values())
    model = runs.build_network(config, 11, pretrained=False)
    assert reached(model.slot)
    assert not reached(runs.build_network(bare, 11, pretrained=False).slot)
    head = runs.FrozenHead(model, (360, 480))
    assert head(torch.randn(2, 40, 9, 12)).shape == (2, 11, 90, 120)


def test_what_stood_over_local_features_before_is_the_same_run():
    found = claims.configs("CamVid, local")
    assert found["SR"][0] == claims.configs("S5, CamVid, local")["hadamard, graph"][0]
    assert found["FCN"][2] == claims.configs("S8, CamVid, local")["FCN"][2]
    assert {c.name for configs in found.values() for c in configs} <= {
        c.name for c in claims.shipped()
    }


def test_networks_of_papers_take_their_own_options():
    config = runs.streets(
        "dynamic_prototype",
        network="cgrseg",
        network_options={"variant": "small", "reconstruct": False},
        backbone="course_pyramid",
    )
    assert config.name.startswith("streets-cgrseg-dynamic_prototype-glpca-smoke-0-")
    assert runs.Config(**config.to_dict()) == config
    net = runs.build_network(config, 13)
    assert [type(level.calibrate).__name__ for level in net.levels] == ["Identity"] * 3
    assert (len(net.pyramid.blocks), net.head.dropout.p) == (2, 0.0)
    own = runs.streets("hamburger", network="segnext", backbone="course_pyramid")
    assert runs.build_network(own, 13).head.context.atoms.shape == (64, 16)
    assert "network_options" not in own.to_dict()
    mscan = replace(own, backbone="mscan_t")
    with torch.device("meta"):
        assert runs.build_network(mscan, 13).backbone.strides == (8, 16, 32)


def test_an_unknown_network_or_norm_is_named():
    for name, expected in (("network", "fcn, realtime, classifier"), ("norm", "batch, group")):
        with pytest.raises(ValueError, match=f"{name} of {expected}.*got 'other'"):
            runs.build_network(replace(runs.streets(), **{name: "other"}), 13)


def test_group_norm_stands_where_batch_norm_stood():
    config = replace(runs.streets("squeeze_reasoning"), norm="group")
    model, usual = (
        runs.build_network(config, 13),
        runs.build_network(replace(config, norm="batch"), 13),
    )
    kinds = [type(module).__name__ for module in model.modules()]
    assert not any("BatchNorm" in kind for kind in kinds) and "GroupNorm" in kinds
    assert set(model.state_dict()) == {
        k
        for k in usual.state_dict()
        if k.split(".")[-1] not in ("running_mean", "running_var", "num_batches_tracked")
    }
    x = torch.rand(1, 3, 16, 16)
    model.train()  # answers in training and in use are the same, at a batch of one too
    assert torch.allclose(model(x), model.eval()(x), atol=1e-6)


@pytest.mark.parametrize("cuda, precision", [(True, "bf16"), (False, "no")])
def test_full_is_bf16_where_cuda_is(monkeypatch, cuda, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    own = partial(runs.folder, {"classes": [["field", 0, None], ["hedge", 1, None]]})
    frozen = partial(runs.camvid, frozen=True)
    settings = (runs.streets, runs.far, runs.camvid, own, frozen)
    for setting in settings:
        full, quick = setting(budget="full"), setting(budget="quick")
        assert full.recipe["precision"] == precision
        assert quick.recipe["precision"] == "no"
        assert runs.at_budget(full, "quick") == quick and runs.at_budget(quick, "full") == full
    # a run of the other kind of machine is the same question
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not cuda)
    assert runs.at_budget(full, "quick") == quick


def test_every_shipped_question_is_found_from_each_budget():
    for config in claims.shipped():
        for budget in ("smoke", "full"):
            there = runs.at_budget(config, budget)
            assert there.budget == budget
            assert runs.at_budget(there, "quick") == config


def test_at_budget_keeps_what_was_chosen_apart():
    config = runs.streets("ocr", knobs={"g": 1}, budget="smoke", recipe={"lr": 1e-3}, pool=12)
    quick = runs.at_budget(config, "quick")
    assert (quick.recipe["lr"], quick.recipe["steps"], quick.pool) == (1e-3, 800, 12)
    assert quick.images == 500 and quick.data_options == config.data_options
    assert runs.at_budget(config) == config  # smoke is in force
    with pytest.raises(ValueError, match="expected a budget"):
        runs.at_budget(config, "long")


def test_the_training_cell(monkeypatch, capsys, request):
    """The path that a lesson takes: from nothing, beside the repository's own run, and again."""
    config = runs.streets("squeeze_excite")
    table = runs.train_and_compare(config, progress=False)
    assert len(table) == 1 and "No run of this question" in capsys.readouterr().out
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(request.config.rootpath / runs.SHIPPED))
    table = runs.train_and_compare(config, retrain=True, progress=False)
    printed = capsys.readouterr().out
    assert printed.startswith(f"Training {config.name}: 3 steps of 16 images, about 1 s on ")
    assert table.column("run") == ["this run, trained now", "shipped, quick"]
    assert table.column("budget") == ["smoke", "quick"] and table.column("steps") == [3, 800]
    assert {"mIoU", "G", "L", "P", "C", "A", "machine", "date"} <= set(table.columns)
    assert table.column("mIoU")[1] > 50 > table.column("mIoU")[0]
    again = runs.train_and_compare(config, progress=False)
    assert "was trained here before" in capsys.readouterr().out
    assert again.column("mIoU") == table.column("mIoU")


def test_the_training_cell_at_quick_prints_the_same_everywhere(monkeypatch, capsys, request):
    monkeypatch.setenv("CONTEXTLAB_RUNS", str(request.config.rootpath / runs.SHIPPED))
    monkeypatch.setattr(runs, "train", None)  # nothing is trained
    config = runs.streets("squeeze_excite", budget="quick")
    (shipped,) = runs.train_and_compare(config).rows
    assert shipped["run"] == "shipped, quick" and shipped["mIoU"] > 80
    text = f"{config.name} is shipped and shown as it is; retrain=True trains it here.\n"
    assert capsys.readouterr().out == text


def test_the_time_to_come_goes_with_steps_images_and_pixels(monkeypatch, request):
    folder = request.config.rootpath / runs.SHIPPED
    quick = runs.streets("squeeze_excite", budget="quick")
    run = runs.find_in(folder, quick)
    run.history.seconds, run.machine = 60.0, "1 thread (x), torch 2"
    full = runs.at_budget(quick, "full")
    assert runs._announcement(full, run).endswith("about 5 min on 1 thread (x), less on a GPU.")
    twice = replace(full, recipe={**full.recipe, "batch": 32})
    assert "of 32 images, about 10 min" in runs._announcement(twice, run)
    crop = replace(run, config=runs.camvid(budget="quick"))
    # 30 times the steps, twice the images and 2.25 times the pixels
    assert "about 135 min" in runs._announcement(runs.camvid(budget="full"), crop)
