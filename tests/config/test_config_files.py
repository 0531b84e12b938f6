from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from storpool_addon.config import KEYS, SECTIONS, Config, document, files
from storpool_addon.config.key import keys_of
from storpool_addon.config.others import ATTRIBUTES, OBSOLETE, replacement
from storpool_addon.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]


def site(directory: Path, *texts: str, conf: str = "") -> Config:
    """The configuration that these files give, one after the other."""
    paths = []
    for index, text in enumerate(texts):
        path = directory / f"rc{index}"
        path.write_text(text)
        paths.append(str(path))
    (directory / "datastore.conf").write_text(conf)
    return files.read(tuple(paths), {"HOME": "/home/one"}, str(directory / "datastore.conf"))


def carrier(object_id: int = 7, **attributes: str) -> SimpleNamespace:
    return SimpleNamespace(id=object_id, attributes=attributes)


def test_defaults_are_those_of_the_bash_addon() -> None:
    config = Config()
    assert (config.one_px, config.loc_tag, config.loc_tag_val, config.vm_tag) == ("one", "nloc", "one", "nvm")
    assert (config.attach_timeout_s, config.readonly_mode, config.delay_delete_s) == (20, "rw", 48 * 3600)
    assert (config.no_volume_template, config.tag_context_iso, config.sp_system) == (True, True, "ssh")
    assert (config.skip_undeploy_ssh, config.clean_src_on_undeploy) == (False, True)
    assert (config.checkpoint_on_volume, config.sp_checkpoint, config.one_tpm_save) == (False, "", True)
    assert (config.vmsnapshot_tag, config.vmsnapshot_delete_on_terminate) == ("ONESNAP", True)
    assert (config.vmsnapshot_limit, config.disksnapshot_limit) == (None, None)
    assert (config.system_compatible_ds, config.default_qosclass) == (("ceph",), "")
    assert (config.restricted_dirs, config.safe_dirs, config.staging_dir) == (
        ("/",),
        ("/var/tmp",),
        "/var/tmp",
    )
    assert (config.monitor_address, config.monitor_port, config.monitor_host_id) == ("127.0.0.1", 4124, -1)
    assert config.identity_tags == ("virt", "nloc", "nvm", "diskid")
    assert config.notes == ()


@pytest.mark.parametrize("name", KEYS)
def test_every_default_is_allowed_and_every_key_is_explained(name: str) -> None:
    key = KEYS[name]
    key.read(None)
    assert key.doc.endswith(".")
    assert key.allowed
    assert getattr(Config, key.attribute) is key


def test_no_name_is_both_a_key_and_something_else() -> None:
    assert not set(KEYS) & set(OBSOLETE)
    assert not set(KEYS) & set(ATTRIBUTES)
    assert not set(ATTRIBUTES) & set(OBSOLETE)
    assert sum(len(keys_of(section)) for section in SECTIONS) == len(KEYS)


def test_later_file_counts(tmp_path: Path) -> None:
    config = site(tmp_path, "ONE_PX=first\nATTACH_TIMEOUT=5\n", "ONE_PX=second\n")
    assert (config.one_px, config.attach_timeout_s) == ("second", 5)
    assert config.loc_tag_val == "second"


def test_later_file_sees_what_the_earlier_one_set(tmp_path: Path) -> None:
    config = site(
        tmp_path, "ONE_PX=first\n", 'LOC_TAG_VAL="${ONE_PX}-x"\nCOMMON_DOMAIN="${NONE:-example.org}"\n'
    )
    assert (config.loc_tag_val, config.common_domain) == ("first-x", "example.org")


def test_empty_name_stands_for_the_default(tmp_path: Path) -> None:
    config = site(tmp_path, "ONE_PX=\nVM_TAG=''\nLOC_TAG_VAL=\n")
    assert (config.one_px, config.vm_tag, config.loc_tag_val) == ("one", "nvm", "one")


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [("", None), ("0s", 0), ("90s", 90), ("5m", 300), ("48h", 172800), ("7d", 604800)],
)
def test_delay_delete(tmp_path: Path, text: str, delay_s: int | None) -> None:
    assert site(tmp_path, f"DELAY_DELETE={text}\n").delay_delete_s == delay_s


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("DELAY_DELETE=48", "a whole number followed by s, m, h or d"),
        ("DELAY_DELETE=h", "a whole number followed by s, m, h or d"),
        ("DELAY_DELETE=-1h", "a whole number followed by s, m, h or d"),
        ("DELAY_DELETE='4 8h'", "a whole number followed by s, m, h or d"),
        ("DELAY_DELETE=1w", "a whole number followed by s, m, h or d"),
        ("ATTACH_TIMEOUT=soon", "a whole number from 1 to 3600"),
        ("ATTACH_TIMEOUT=0", "a whole number from 1 to 3600"),
        ("ATTACH_TIMEOUT=-5", "a whole number from 1 to 3600"),
        ("MONITOR_PORT=70000", "a whole number from 1 to 65535"),
        ("MONITOR_HOST_ID=x", "a whole number"),
        ("READONLY_MODE=wr", "rw, ro"),
        ("SP_SYSTEM=nfs", "ssh, shared"),
        ("EXPORT_FILE_FORMAT=vmdk", "empty, raw, qcow, qcow2"),
        ("NO_VOLUME_TEMPLATE=maybe", "1 Y YES T TRUE ON for yes"),
        ("SP_CHECKPOINT=sometimes", "nomigrate"),
        ("ONE_PX='a b'", "of A-Z a-z 0-9"),
        ("ONE_PX=one/two", "of A-Z a-z 0-9"),
        ("ONE_PX=" + "x" * 101, "up to 100"),
        ("LOC_TAG=é", "of A-Z a-z 0-9"),
        ("STORPOOL_CLIENT_ID_SOURCES='LOCAL DNS'", "words of LOCAL ONEHOST"),
        ("VMSNAPSHOT_LIMIT=many", "a whole number, or empty"),
        ("SP_API_CONNECT_TIMEOUT=1s", "seconds, such as 2 or .3"),
        ("COMMON_DOMAIN='a b'", "one word"),
        ("MKISOFS='a\nb'", "text on one line"),
    ],
)
def test_value_that_is_not_allowed_names_file_line_key_and_what_is(
    tmp_path: Path, line: str, allowed: str
) -> None:
    name = line.partition("=")[0]
    with pytest.raises(ConfigError) as caught:
        site(tmp_path, f"# first line\n{line}\n")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/rc0:2: {name} is ")
    assert allowed in text.partition("; allowed: ")[2]
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("YES", True), ("on", True), ("", False), ("0", False), ("No", False)]
)
def test_flags(tmp_path: Path, text: str, value: bool) -> None:
    assert site(tmp_path, f"ALT_STATS={text}\nTAG_CONTEXT_ISO={text}\n").alt_stats is value


@pytest.mark.parametrize(
    ("text", "value"), [("", ""), ("0", ""), ("YES", "always"), ("1", "always"), ("NoMigrate", "nomigrate")]
)
def test_checkpoint(tmp_path: Path, text: str, value: str) -> None:
    assert site(tmp_path, f"SP_CHECKPOINT={text}\n").sp_checkpoint == value


def test_seconds(tmp_path: Path) -> None:
    assert site(tmp_path, "SP_API_CONNECT_TIMEOUT=.3").sp_api_connect_timeout_s == pytest.approx(0.3)


def test_client_id_sources_that_are_left_out_are_asked_last(tmp_path: Path) -> None:
    config = site(tmp_path, "STORPOOL_CLIENT_ID_SOURCES='FROMHOST BRIDGELIST'")
    assert config.client_id_sources == ("FROMHOST", "BRIDGELIST", "LOCAL", "ONEHOST", "HOSTHOSTNAME")


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("SYSTEM_COMPATIBLE_DS[netapp]=1", ("ceph", "netapp")),
        ('declare -A SYSTEM_COMPATIBLE_DS\nSYSTEM_COMPATIBLE_DS["ceph"]=1', ("ceph",)),
        ("SYSTEM_COMPATIBLE_DS[ceph]=0", ()),
        ("SYSTEM_COMPATIBLE_DS[ceph]=\nSYSTEM_COMPATIBLE_DS[lvm]=1", ("lvm",)),
        ("SYSTEM_COMPATIBLE_DS='lvm,netapp'", ("lvm", "netapp")),
    ],
)
def test_compatible_transfer_managers(tmp_path: Path, text: str, members: tuple[str, ...]) -> None:
    assert site(tmp_path, text).system_compatible_ds == members


def test_key_that_is_no_array(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ONE_PX has no entries; write ONE_PX=value"):
        site(tmp_path, "ONE_PX[a]=1")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("ONEPX=x", "ONEPX is not a key of this driver; ONE_PX is"),
        ("COMPLETELY_DIFFERENT=x", "COMPLETELY_DIFFERENT is not a key of this driver"),
        ("AUTO_TEMPLATE=1", "AUTO_TEMPLATE has no effect any more; in its place: StorPool templates"),
        ("DEBUG_TM_MV=1", "DEBUG_TM_MV has no effect any more"),
        ("SP_CMD_VOLUME_SPACE='cat x'", "SP_CMD_VOLUME_SPACE has no effect any more"),
        ("VC_POLICY=gold", "VC_POLICY has no effect here; it is an attribute of a VM"),
    ],
)
def test_name_that_is_no_key_is_noted_and_does_no_harm(tmp_path: Path, line: str, note: str) -> None:
    config = site(tmp_path, f"{line}\nATTACH_TIMEOUT=9\n")
    assert config.attach_timeout_s == 9
    assert config.notes[0].startswith(f"{tmp_path}/rc0:1: {note}")


def test_note_about_an_unknown_name_does_not_repeat_its_value(tmp_path: Path) -> None:
    assert "s3cret" not in " ".join(site(tmp_path, "SP_AUTH_TOKE=s3cret").notes)


def test_replacement_of_a_group_of_names() -> None:
    assert replacement("DDEBUG_COMMON") == replacement("DEBUG")
    assert replacement("SP_VOLUME_LIST_MINUTES")
    assert replacement("ONE_PX") is None


def test_token_is_in_no_text(tmp_path: Path) -> None:
    config = site(tmp_path, "SP_AUTH_TOKEN=s3cret\n")
    assert config.sp_auth_token == "s3cret"
    assert "s3cret" not in f"{config!r} {config}"


def test_datastore_overrides_and_vm_overrides_that() -> None:
    config = Config()
    of_datastore = config.for_datastore(carrier(100, SP_SYSTEM="Shared", VMSNAPSHOT_LIMIT="5", ONE_PX="evil"))
    of_vm = of_datastore.for_vm(carrier(42, VMSNAPSHOT_LIMIT="2", SP_SYSTEM="ssh", DELAY_DELETE=""))
    assert (of_datastore.sp_system, of_datastore.vmsnapshot_limit) == ("shared", 5)
    assert (of_vm.sp_system, of_vm.vmsnapshot_limit) == ("shared", 2)
    assert (of_vm.one_px, of_vm.delay_delete_s) == ("one", 172800)
    assert (config.sp_system, config.vmsnapshot_limit) == ("ssh", None)


def test_empty_attribute_overrides_nothing(tmp_path: Path) -> None:
    config = site(tmp_path, "SP_SYSTEM=shared\n")
    assert config.for_datastore(carrier(SP_SYSTEM="")).sp_system == "shared"


def test_wrong_attribute_is_an_error_for_those_who_read_it_only() -> None:
    config = Config().for_datastore(carrier(100)).for_vm(carrier(42, VMSNAPSHOT_LIMIT="many"))
    assert config.one_px == "one"
    with pytest.raises(ConfigError, match="VM 42: VMSNAPSHOT_LIMIT is 'many'; allowed: a whole number"):
        _ = config.vmsnapshot_limit


def test_file_system_options(tmp_path: Path) -> None:
    conf = 'SUPPORTED_FS="ext4,xfs"\nFS_OPTS_ext4="-E lazy_itable_init=1 -q"\nOTHER="x"\nFS_OPTS_xfs=-K\n'
    config = site(tmp_path, "FS_OPTS_xfs=-f\n", conf=conf)
    assert config.supported_fs == ("ext4", "xfs")
    assert config.fs_options("ext4") == ("-E", "lazy_itable_init=1", "-q")
    assert config.fs_options("xfs") == ("-f",)
    assert config.fs_options("btrfs") == ()
    assert config.notes == ()
    assert config.for_vm(carrier(INCLUDE_CONTEXT_PACKAGES="1")).fs_options("xfs") == ("-f",)


def test_file_that_is_missing_says_nothing(tmp_path: Path) -> None:
    assert files.read((str(tmp_path / "none"),), {}).one_px == "one"


@pytest.mark.parametrize("content", [b"A=1\0B=2", b"#" * ((1 << 20) + 1)])
def test_file_that_is_no_configuration(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rc").write_bytes(content)
    with pytest.raises(ConfigError, match="is not a configuration file"):
        files.read((str(tmp_path / "rc"),), {})


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory; correct its owner and mode"):
        files.read((str(tmp_path),), {})


def test_bytes_that_are_not_utf8_stand_in_comments(tmp_path: Path) -> None:
    (tmp_path / "rc").write_bytes("# für\nONE_PX=x\n".encode("latin-1"))
    assert files.read((str(tmp_path / "rc"),), {}).one_px == "x"


def test_first_rc_file_that_exists_counts(tmp_path: Path) -> None:
    remotes = tmp_path / "var" / "remotes"
    (remotes / "tm" / "storpool").mkdir(parents=True)
    (remotes / "datastore").mkdir()
    environ = {"ONE_LOCATION": str(tmp_path)}
    wanted = [remotes / "tm/storpool", remotes / "datastore", remotes]
    for directory in wanted:
        (directory / "addon-storpoolrc").write_text(f"COMMON_DOMAIN={directory.name}\n")
        assert files.paths(environ) == (f"{directory}/addon-storpoolrc", files.SITE)
    assert Config.load(environ).common_domain == "remotes"


@pytest.mark.parametrize(
    ("path", "content"),
    [("docs/configuration.md", document.manual()), ("remotes/addon-storpoolrc", document.rc_file())],
)
def test_written_files_are_fresh(path: str, content: str) -> None:
    assert (PROJECT / path).read_text() == content, "run: python -m storpool_addon.config.document"


def test_shipped_file_sets_nothing_until_a_key_is_uncommented(tmp_path: Path) -> None:
    assert site(tmp_path, document.rc_file()).given("ONE_PX") is None
    lines = document.rc_file().splitlines()
    names = [line[1:].partition("=")[0] for line in lines if line.startswith("#") and line[1:2].isalpha()]
    assert names == [name for name, each in KEYS.items() if each.in_files]
    uncommented = "\n".join(line[1:] if line[1:2].isalpha() else line for line in lines)
    config = site(tmp_path, uncommented)
    assert config.notes == ()
    for key in KEYS.values():
        assert getattr(config, key.attribute) == key.read(None), key.name


def test_writing(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "remotes").mkdir()
    document.write(str(tmp_path))
    assert (tmp_path / "docs/configuration.md").read_text() == document.manual()
    assert (tmp_path / "remotes/addon-storpoolrc").read_text() == document.rc_file()


def test_loading_is_quick(tmp_path: Path) -> None:
    """A guard against a slip to quadratic time: the shipped file takes about two milliseconds."""
    (tmp_path / "rc").write_text(document.rc_file() * 10 + "ONE_PX=x\n")
    began = time.perf_counter()
    assert files.read((str(tmp_path / "rc"),), {}).one_px == "x"
    assert time.perf_counter() - began < 1


def test_configuration_imports_nothing_heavy() -> None:
    heavy = (
        "lxml",
        "requests",
        "argparse",
        "logging",
        "difflib",
        "subprocess",
        "dataclasses",
        "xmlrpc",
        "http",
    )
    program = (
        "import sys; import storpool_addon.config.files, storpool_addon.qos, storpool_addon.tags;"
        "import storpool_addon.opennebula.action, storpool_addon.opennebula.rpc, storpool_addon.log;"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == ""
