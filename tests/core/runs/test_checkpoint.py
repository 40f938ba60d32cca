import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings

from operant.core.runs import checkpoint, files, segments
from operant.errors import CheckpointError

DTYPES = [
    *("bool", "int2", "int4", "int8", "int16", "int32", "uint2", "uint4", "uint8", "uint16", "uint32", "complex64"),
    *("float16", "bfloat16", "float32", "float4_e2m1fn", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


class State(NamedTuple):
    parameters: dict
    key: jax.Array
    count: jax.Array


def small_tree():
    return State(
        {"weight": jnp.arange(6, dtype=jnp.float32).reshape(2, 3), "none": jnp.zeros((0, 4))},
        jax.random.split(jax.random.key(3), 2),
        jnp.int32(7),
    )


def template(tree):
    return jax.eval_shape(lambda: tree)


def raw(leaf):
    data = jax.random.key_data(leaf) if segments.is_key(leaf) else leaf
    return np.asarray(data).tobytes()


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert (one.shape, one.dtype, raw(one)) == (other.shape, other.dtype, raw(other))


def damage_manifest(path: Path, change) -> None:
    """Rewrite the manifest with a correct hash, as someone hostile would."""
    text = (path / "manifest.json").read_text()
    body = change(json.dumps(json.loads(text)["manifest"]))
    digest = hashlib.sha256(body.encode()).hexdigest()
    (path / "manifest.json").write_text(f'{{"sha256": "{digest}", "manifest":\n{body}\n}}\n')


def edit(path: Path, change) -> None:
    def rewrite(body: str) -> str:
        manifest = json.loads(body)
        change(manifest)
        return json.dumps(manifest)

    damage_manifest(path, rewrite)


def assert_one_line(error) -> None:
    assert "\n" not in str(error.value)


leaves = st.sampled_from(["float32", "int32", "uint8", "bool", "bfloat16", "float16"]).flatmap(
    lambda name: arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)).map(
        lambda array: (array % 2).astype(jnp.dtype(name)) if name == "bool" else array.astype(jnp.dtype(name))
    )
)
names = st.text(max_size=5) | st.sampled_from(["a/b", "..", "bytes", "']['", "__metadata__"])
trees = st.recursive(
    leaves, lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=3), max_leaves=6
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, segment=st.sampled_from([1, 7, 64, 1 << 20]), number=st.integers(-(2**70), 2**70))
def test_any_tree_comes_back_bit_for_bit(tmp_path, monkeypatch, tree, segment, number):
    monkeypatch.setattr(segments, "SEGMENT", segment)
    tree = jax.tree.map(jnp.asarray, tree)
    folder = tmp_path / os.urandom(8).hex()
    path = checkpoint.save(folder, "0001", tree, {"number": number, "words": ["ä", None, {"deep": 0.1}]})
    restored, description = checkpoint.load(path, template(tree))
    assert_same(restored, tree)
    assert description == {"number": number, "words": ["ä", None, {"deep": 0.1}]}


@pytest.mark.parametrize("segment", [4, 1 << 20])
def test_every_dtype_keeps_every_bit(tmp_path, monkeypatch, segment):
    monkeypatch.setattr(segments, "SEGMENT", segment)
    tree = {name: jnp.asarray(np.arange(-4, 4).astype(jnp.dtype(name))) for name in DTYPES}
    tree["nan"] = jax.lax.bitcast_convert_type(jnp.uint32(0xFFC12345), jnp.float32)
    tree["minus zero"] = jnp.float32(-0.0)
    restored, _ = checkpoint.load(checkpoint.save(tmp_path, "1", tree, {}), template(tree))
    assert_same(restored, tree)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_come_back_as_keys_of_their_generator(tmp_path, implementation):
    tree = {"one": jax.random.key(5, impl=implementation), "many": jax.random.split(jax.random.key(6), (2, 3))}
    restored, _ = checkpoint.load(checkpoint.save(tmp_path, "1", tree, {}), template(tree))
    assert_same(restored, tree)
    assert jax.random.key_impl(restored["one"]) == implementation
    assert jax.random.bits(restored["one"]) == jax.random.bits(tree["one"])


def test_keys_of_another_generator_are_refused(tmp_path):
    path = checkpoint.save(tmp_path, "1", {"key": jax.random.key(0)}, {})
    with pytest.raises(CheckpointError, match=r"leaf \['key'\].*key<rbg>.*expected"):
        checkpoint.load(path, {"key": jax.random.key(0, impl="rbg")})
    for hostile in ("rbg", "unsafe_rbg", "nonsense", None):
        edit(path, lambda m, hostile=hostile: m["leaves"]["['key']"].update(key=hostile))
        if hostile is not None:  # None is the default generator, whose keys these are
            with pytest.raises(CheckpointError, match="holds keys of") as error:
                checkpoint.load(path, {"key": jax.random.key(0)})
            assert_one_line(error)


def test_a_generator_with_keys_of_the_same_size_is_not_taken_for_another(tmp_path):
    tree = {"key": jax.random.key(0, impl="rbg")}
    path = checkpoint.save(tmp_path, "1", tree, {})
    edit(path, lambda m: m["leaves"]["['key']"].update(key="unsafe_rbg"))
    with pytest.raises(CheckpointError, match=r"holds keys of 'unsafe_rbg', key<rbg> was expected"):
        checkpoint.load(path, tree)


def test_numpy_templates_give_numpy_arrays_of_64_bits_too(tmp_path):
    tree = {"wide": np.arange(4.0)[::2], "column": np.asfortranarray(np.arange(6).reshape(2, 3)), "one": np.float64(2)}
    path = checkpoint.save(tmp_path, "1", tree, {})
    restored, _ = checkpoint.load(path, tree)
    for name, array in tree.items():
        assert isinstance(restored[name], np.ndarray) and restored[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(restored[name], array)
    with pytest.raises(CheckpointError, match="jax_enable_x64"):
        checkpoint.load(path, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree))


def test_loaded_arrays_are_strong_and_own_their_memory(tmp_path):
    tree = {"weak": jnp.asarray(2.0), "large": jnp.arange(1 << 16, dtype=jnp.float32)}
    assert tree["weak"].weak_type
    path = checkpoint.save(tmp_path, "1", tree, {})
    first, second = (checkpoint.load(path, template(tree))[0] for _ in range(2))
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(first))
    pointer = first["large"].unsafe_buffer_pointer()
    moved = jax.jit(lambda array: array + 1, donate_argnums=0)(first["large"])
    assert moved.unsafe_buffer_pointer() == pointer  # donated in place: nobody else holds it
    np.testing.assert_array_equal(second["large"], tree["large"])
    assert_same(checkpoint.load(path, template(tree))[0]["large"], tree["large"])


def test_saving_holds_no_reference_to_what_it_saved(tmp_path):
    array = jnp.arange(1 << 16, dtype=jnp.float32)
    pointer = array.unsafe_buffer_pointer()
    checkpoint.save(tmp_path, "1", {"array": array}, {})
    assert jax.jit(lambda array: array + 1, donate_argnums=0)(array).unsafe_buffer_pointer() == pointer


def test_small_leaves_can_be_read_by_any_safetensors_reader(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    (file,) = path.glob("*.safetensors")
    tensors = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(tensors[".parameters['weight']"], small_tree().parameters["weight"])


def test_what_cannot_be_stored_is_refused(tmp_path):
    strange = [np.array(["text"]), np.array([None]), np.zeros(2, ">f4"), np.longdouble(1), np.zeros(1, "M8[s]")]
    for leaf in [3, 2.5, "text", *strange]:
        with pytest.raises(CheckpointError, match=r"leaf \['bad'\]"):
            checkpoint.save(tmp_path, "1", {"bad": leaf}, {})
    deep = {}
    for _ in range(100):
        deep = {"deeper": deep}
    for description in ({"x": float("nan")}, {"x": float("inf")}, {"x": object()}, {"x": {1, 2}}, deep):
        with pytest.raises(CheckpointError, match=r"JSON|nested"):
            checkpoint.save(tmp_path, "1", small_tree(), description)
    for name in ("", "..", "best", "1/2", "１"):
        with pytest.raises(CheckpointError, match="step number"):
            checkpoint.save(tmp_path, name, small_tree(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda tree: tree._replace(count=jnp.zeros(2, jnp.int32)), r"\.count is int32\[\], int32\[2\] was expected"),
        (lambda tree: tree._replace(count=jnp.float32(0)), r"\.count is int32\[\], float32\[\] was expected"),
        (lambda tree: tree._replace(count=jax.random.key(0)), r"\.count is int32\[\], key<fry>\[\] was expected"),
        (lambda tree: tree._replace(key=tree.key[0]), r"\.key is key<fry>\[2\], key<fry>\[\] was expected"),
        (lambda tree: tree._replace(parameters={}), r"has a leaf .*none.* not expected"),
        (lambda tree: tree._replace(parameters={**tree.parameters, "more": tree.count}), r"has no leaf .*\['more'\]"),
    ],
)
def test_a_tree_of_another_shape_is_refused(tmp_path, other, message):
    checkpoint.save(tmp_path, "1", other(small_tree()), {})
    path = checkpoint.save(tmp_path, "2", small_tree(), {})
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.load(path, template(other(small_tree())))
    assert str(path / "manifest.json") in str(error.value)
    assert_one_line(error)
    # Sound, only different: nothing older is taken instead.
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load_newest(tmp_path, template(other(small_tree())))


def test_another_format_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    edit(path, lambda manifest: manifest.update(format=2))
    with pytest.raises(CheckpointError, match="format '2', this version reads 1"):
        checkpoint.load(path, template(small_tree()))


def test_truncation_at_every_byte_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 24)
    path = checkpoint.save(tmp_path, "1", small_tree(), {"step": 1})
    wanted = template(small_tree())
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for length in range(len(content)):
            file.write_bytes(content[:length])
            with pytest.raises(CheckpointError) as error:
                checkpoint.load(path, wanted)
            assert file.name in str(error.value)
            assert_one_line(error)
        file.write_bytes(content + b"\0")
        with pytest.raises(CheckpointError, match=file.name):
            checkpoint.load(path, wanted)
        file.unlink()
        with pytest.raises(CheckpointError, match=file.name):
            checkpoint.load(path, wanted)
        file.write_bytes(content)
    assert_same(checkpoint.load(path, wanted)[0], small_tree())


def test_every_flipped_bit_is_noticed(tmp_path):
    tree = {"count": jnp.int32(7), "key": jax.random.key(1)}
    path = checkpoint.save(tmp_path, "1", tree, {"step": 1})
    wanted = template(tree)
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for position in range(len(content)):
            damaged = bytearray(content)
            damaged[position] ^= 1 << (position * 5 % 8)
            file.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=file.name):
                checkpoint.load(path, wanted)
        file.write_bytes(content)
    assert_same(checkpoint.load(path, wanted)[0], tree)


def move_file(manifest: dict, name: str) -> None:
    (old,) = manifest["files"]
    manifest["files"][name] = manifest["files"].pop(old)
    for leaf in manifest["leaves"].values():
        leaf["segments"] = [name]


HOSTILE = {
    "traversal": lambda m: move_file(m, "../secret.safetensors"),
    "absolute": lambda m: move_file(m, "/etc/passwd"),
    "drive": lambda m: move_file(m, "C:\\secret.safetensors"),
    "not named by hash": lambda m: move_file(m, "model.safetensors"),
    "trailing line": lambda m: move_file(m, next(iter(m["files"])) + "\n"),
    "no such file": lambda m: move_file(m, "0" * 64 + ".safetensors"),
    "huge size": lambda m: next(iter(m["files"].values())).update(size=2**62),
    "negative size": lambda m: next(iter(m["files"].values())).update(size=-1),
    "size is text": lambda m: next(iter(m["files"].values())).update(size="12"),
    "hash is a list": lambda m: next(iter(m["files"].values())).update(sha256=[]),
    "wrong hash": lambda m: next(iter(m["files"].values())).update(sha256="0" * 64),
    "files is a list": lambda m: m.update(files=[1]),
    "file is null": lambda m: m["files"].update({next(iter(m["files"])): None}),
    "leaves is text": lambda m: m.update(leaves="all"),
    "leaf is a number": lambda m: m["leaves"].update({".count": 3}),
    "enormous shape": lambda m: m["leaves"][".count"].update(shape=[2**62, 2**62]),
    "shape beyond integers": lambda m: m["leaves"][".count"].update(shape=[10**400]),
    "negative shape": lambda m: m["leaves"][".count"].update(shape=[-1]),
    "shape of floats": lambda m: m["leaves"][".count"].update(shape=[1.5]),
    "dtype is a list": lambda m: m["leaves"][".count"].update(dtype=["int32"]),
    "dtype of objects": lambda m: m["leaves"][".count"].update(dtype="object"),
    "key is a list": lambda m: m["leaves"][".key"].update(key=["rbg"]),
    "no segments": lambda m: m["leaves"][".count"].update(segments=[]),
    "unhashable segment": lambda m: m["leaves"][".count"].update(segments=[[]]),
    "unknown segment": lambda m: m["leaves"][".count"].update(segments=["x"]),
    "twice": lambda m: m["leaves"][".count"].update(segments=m["leaves"][".count"]["segments"] * 2),
    "surplus leaf with a line break": lambda m: m["leaves"].update({"a\nb\x1b[31m": m["leaves"][".count"]}),
    "description is a list": lambda m: m.update(description=[]),
    "format is a dict": lambda m: m.update(format={"\n": 1}),
    "empty": lambda m: m.clear(),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_manifests_are_refused(tmp_path, change):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    edit(path, change)
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path, template(small_tree()))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"a":' * 100 + "1" + "}" * 100,
        "[]",
        "null",
        "",
        '{"format": 1, "files": {}, "leaves": {}, "description": {"x": NaN}}',
        '{"format": 1, "files": {}, "leaves": {}, "description": {"x": 1e999}}',
        '{"format": 1, "files": {}, "leaves": {}, "description": {"x": ' + "9" * 100_000 + "}}",
        '{"format": 1, "files": {}, "leaves": {}, "description": {"x": ' + "[" * 80 + "]" * 80 + "}}",
        '{"format": 1, "files": {}, "leaves": {}, "description": {}',
        "\ufeff{}",
    ],
)
def test_hostile_json_is_refused(tmp_path, body):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    damage_manifest(path, lambda _: body)
    with pytest.raises(CheckpointError, match=r"manifest\.json: is (not valid JSON|not a JSON object|nested)") as error:
        checkpoint.load(path, {})
    assert_one_line(error)


def replace_content(path: Path, content: bytes, size: int) -> None:
    """Put `content` (and a hole up to `size`) in place of the only data file, with a correct hash in the manifest."""
    (file,) = path.glob("*.safetensors")
    digest = hashlib.sha256(content).hexdigest()
    file.unlink()
    with open(path / f"{digest}.safetensors", "wb") as data:
        data.write(content)
        data.truncate(size)

    def rename(manifest):
        move_file(manifest, f"{digest}.safetensors")
        manifest["files"] = {f"{digest}.safetensors": {"size": size, "sha256": digest}}

    edit(path, rename)


def test_hostile_safetensors_with_a_correct_hash_are_refused(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    (file,) = path.glob("*.safetensors")
    content = file.read_bytes()
    generator = np.random.default_rng(0)
    header = content[8:].index(b"}}") + 10

    def damaged(position: int) -> bytes:
        copy = bytearray(content)
        copy[position] = generator.integers(256)
        return bytes(copy)

    refused = 0
    for other in [b"", b"\xff" * 64, b"\2" + bytes(7) + b"{}", *(damaged(i) for i in range(header) for _ in range(2))]:
        replace_content(path, other, len(other))
        try:
            restored, _ = checkpoint.load(path, template(small_tree()))
        except CheckpointError as error:
            assert "\n" not in str(error)
            refused += 1
        else:  # only the names and places of bytes are in the header: what is still well formed is an array
            assert jax.tree.map(jnp.shape, restored) == jax.tree.map(jnp.shape, small_tree())
    assert refused > header


def test_data_missing_from_a_sound_file_is_noticed(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    content = safetensors.numpy.save({".other": np.zeros(100, np.uint8)})
    replace_content(path, content, len(content))
    with pytest.raises(CheckpointError, match=r"leaf \.parameters\['weight'\]: has 24 bytes, 0 were found"):
        checkpoint.load(path, template(small_tree()))


def test_a_file_larger_than_any_that_is_written_is_not_read(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    replace_content(path, b"\2", 2**40)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint's manifest"):
        checkpoint.load(path, template(small_tree()))


def test_links_are_not_followed(tmp_path):
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    for file in list(path.iterdir()):
        elsewhere = tmp_path / "elsewhere"
        file.rename(elsewhere)
        file.symlink_to(elsewhere)
        with pytest.raises(CheckpointError, match=file.name):
            checkpoint.load(path, template(small_tree()))
        file.unlink()
        file.mkdir()
        with pytest.raises(CheckpointError, match=file.name):
            checkpoint.load(path, template(small_tree()))
        file.rmdir()
        elsewhere.rename(file)
    (tmp_path / "2").symlink_to(path)
    assert checkpoint.latest(tmp_path) == ["1"]


class Killed(BaseException):
    """The process ends here: nothing after it runs, not even the tidying up."""


class Faults:
    """Makes the n-th call that touches the disk fail, before it does anything or (writes) halfway."""

    def __init__(self, monkeypatch, failure, at):
        self.calls, self.failure, self.at = 0, failure, at
        for name in ("replace", "fsync", *(["link"] if failure is Killed else [])):  # without links it copies
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))
        monkeypatch.setattr(Path, "mkdir", self.wrap(Path.mkdir))
        monkeypatch.setattr(files, "open", self.open, raising=False)
        if failure is Killed:
            monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)

    def count(self):
        self.calls += 1
        if self.calls == self.at:
            raise self.failure

    def wrap(self, function):
        def counted(*arguments, **named):
            self.count()
            return function(*arguments, **named)

        return counted

    def open(self, path, mode):
        return Halfway(path, mode, self.count) if mode == "wb" else open(path, mode)


class Halfway(io.FileIO):
    def __init__(self, path, mode, count):
        super().__init__(path, mode)
        self.interrupt = count

    def write(self, data):
        super().write(data[: len(data) // 2])
        self.interrupt()
        return super().write(data[len(data) // 2 :])


def changed(tree):
    return tree._replace(count=tree.count + 1)


@pytest.mark.parametrize("failure", [Killed(), OSError(28, "No space left on device")], ids=["killed", "full disk"])
@pytest.mark.parametrize("name", ["2", "1"], ids=["new name", "same name"])
def test_a_failure_at_any_moment_leaves_the_old_or_the_new(tmp_path, monkeypatch, failure, name):
    monkeypatch.setattr(segments, "SEGMENT", 24)
    old, new = small_tree(), changed(small_tree())
    outcomes = []
    for at in range(1, 100):
        folder = tmp_path / str(at)
        checkpoint.save(folder, "1", old, {"which": "old"})
        with monkeypatch.context() as patch:
            faults = Faults(patch, failure if isinstance(failure, OSError) else Killed, at)
            try:
                checkpoint.save(folder, name, new, {"which": "new"})
            except Killed:
                pass
            except CheckpointError as error:
                assert "No space left" in str(error) and str(folder / name) in str(error)
                assert set(os.listdir(folder)) <= {"1", "2"}  # tidied up
        tree, description, _, warnings = checkpoint.load_newest(folder, template(old))
        assert warnings == []
        assert_same(tree, {"old": old, "new": new}[description["which"]])
        outcomes.append(description["which"])
        checkpoint.prune(folder)
        assert set(os.listdir(folder)) <= {"1", "2"}
        assert_same(checkpoint.load_newest(folder, template(old))[0], tree)
        if faults.calls < at:
            break
    assert outcomes == sorted(outcomes, reverse=True)  # old, ..., old, new, ..., new: one moment decides
    assert outcomes[-1] == "new" and outcomes.count("old") >= 6


def test_unchanged_segments_are_linked_and_equal_ones_stored_once(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 1024)
    replay = jnp.zeros(4096, jnp.uint8).at[:2048].set(jnp.repeat(jnp.arange(16, dtype=jnp.uint8), 128))
    first = checkpoint.save(tmp_path, "1", {"replay": replay, "count": jnp.int32(1)}, {})
    assert len(list(first.iterdir())) == 1 + 1 + 3  # manifest, the small leaf, two different segments and zeros once
    second = checkpoint.save(tmp_path, "2", {"replay": replay.at[1500].set(9), "count": jnp.int32(1)}, {})
    inodes = [{file.name: file.stat().st_ino for file in path.glob("*.safetensors")} for path in (first, second)]
    shared = inodes[0].keys() & inodes[1].keys()
    assert len(shared) == 3 and all(inodes[0][name] == inodes[1][name] for name in shared)
    checkpoint.prune(tmp_path, keep=1)
    restored, _ = checkpoint.load(second, {"replay": replay, "count": jnp.int32(0)})
    np.testing.assert_array_equal(restored["replay"], replay.at[1500].set(9))


def test_damage_is_not_linked_into_the_next_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 24)
    path = checkpoint.save(tmp_path, "1", small_tree(), {})
    for file in path.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\xee")
    checkpoint.save(tmp_path, "2", small_tree(), {})
    assert_same(checkpoint.load(tmp_path / "2", template(small_tree()))[0], small_tree())
    checkpoint.save(tmp_path, "1", small_tree(), {})
    assert_same(checkpoint.load(path, template(small_tree()))[0], small_tree())


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for name in ("1", "2"):
        checkpoint.save(tmp_path, name, small_tree(), {})
    assert_same(checkpoint.load(tmp_path / "2", template(small_tree()))[0], small_tree())


def test_saving_a_name_again_leaves_nothing_of_the_old(tmp_path):
    checkpoint.save(tmp_path, "1", small_tree(), {})
    path = checkpoint.save(tmp_path, "1", changed(small_tree()), {"again": True})
    assert len(list(path.iterdir())) == 2
    restored, description = checkpoint.load(path, template(small_tree()))
    assert_same(restored, changed(small_tree()))
    assert description == {"again": True}


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    wanted = template(small_tree())
    with pytest.raises(CheckpointError, match="there is none"):
        checkpoint.load_newest(tmp_path / "nowhere", wanted)
    for name in ("0009", "0010", "00011"):
        checkpoint.save(tmp_path, name, small_tree(), {"name": name})
    (tmp_path / "0012").write_text("a file")
    (tmp_path / "notes").mkdir()
    assert checkpoint.latest(tmp_path) == ["00011", "0010", "0009"]
    assert checkpoint.load_newest(tmp_path, wanted)[1:] == ({"name": "00011"}, "00011", [])
    (tmp_path / "00011" / "manifest.json").write_text("{")
    _, description, name, (warning,) = checkpoint.load_newest(tmp_path, wanted)
    assert name == description["name"] == "0010"
    assert str(tmp_path / "00011" / "manifest.json") in warning and "damaged" in warning and "\n" not in warning
    for name in ("0010", "0009"):
        shutil.rmtree(tmp_path / name)
        (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=r"no checkpoint to load .*00011.*damaged"):
        checkpoint.load_newest(tmp_path, wanted)
    with pytest.raises(CheckpointError, match="missing"):
        checkpoint.load(tmp_path / "missing", wanted)


def test_prune_keeps_the_newest_whole_ones_and_the_named(tmp_path):
    for name in ("1", "2", "3", "4", "5"):
        checkpoint.save(tmp_path, name, small_tree(), {})
    leftover = tmp_path / ".6.0123.tmp"
    leftover.mkdir()
    (leftover / "manifest.json").write_text("half")
    (tmp_path / "5" / "manifest.json").unlink()
    (cut,) = (tmp_path / "4").glob("*.safetensors")
    content = cut.read_bytes()
    cut.unlink()  # it is linked
    cut.write_bytes(content[:-1])
    assert checkpoint.latest(tmp_path)[0] == "5"
    checkpoint.prune(tmp_path, keep=1, also={"1"})
    assert sorted(os.listdir(tmp_path)) == ["1", "3", "4", "5"]
    checkpoint.prune(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written") as error:
        checkpoint.save(tmp_path / "file", "1", small_tree(), {})
    assert_one_line(error)
