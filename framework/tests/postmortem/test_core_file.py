"""Core files: what a debugger and an ELF reader find in them, and what a failure leaves."""

import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from elftools.elf.elffile import ELFFile

from theseus_kit.errors import GuestKilled, UsageError
from theseus_kit.postmortem.core_file import ET_CORE, write_core
from theseus_kit.values.exceptions import ExceptionCategory
from theseus_kit.values.memory import PAGE_SIZE, MapRequest, Protection

GDB_FRAME = re.compile(r"^#\d+ +(?:0x[0-9a-f]+ in )?([\w.]+|\?\?) \(", re.MULTILINE)


@contextmanager
def opened(path):
    with path.open("rb") as file:
        yield ELFFile(file)


def gdb(image, core, *commands):
    debugger = shutil.which("gdb") or pytest.skip("gdb is not installed")
    arguments = [item for command in commands for item in ("-ex", command)]
    done = subprocess.run(
        [debugger, "-q", "-nx", "-batch", image, core, "-ex", "set width 0", *arguments],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def notes_of(core):
    with opened(core) as elf:
        segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_NOTE"]
        return [(note["n_type"], note["n_desc"]) for s in segments for note in s.iter_notes()]


@pytest.mark.parametrize("function", ["fault", "panic"])
def test_gdb_shows_the_frames_our_backtrace_shows(platform, program, killed, tmp_path, function):
    error = killed(function)
    core = tmp_path / "core"
    platform.write_core(core, error)

    output = gdb(program, core, "bt", 'frame apply all -q printf "pc %lx\\n", $pc')

    (image,) = platform.namespace.images
    entries = [
        entry
        for entry in error.backtrace
        if platform.namespace.image_at(entry.frame.lookup_address) is image
    ]
    ours = [
        (entry.frame.instruction_pointer, entry.symbols[-1].name.partition(".")[0])
        for entry in entries
    ]
    if not entries[0].frame.is_exact:  # gdb is shown the call, not its return address
        ours[0] = (ours[0][0] - 1, ours[0][1])
    addresses = [int(address, 16) for address in re.findall(r"^pc ([0-9a-f]+)$", output, re.M)]
    names = GDB_FRAME.findall(output)[-len(addresses) :]
    assert [name for _, name in ours][1:] == ["middle", function]
    # gdb goes one frame further, out of all images.
    assert list(zip(addresses, names, strict=True))[:-1] == ours
    assert f"{program.parent}/program.c:" in output


def test_gdb_says_which_signal_it_was_and_at_which_address(platform, program, killed, tmp_path):
    core = tmp_path / "core"
    platform.write_core(core, killed("fault"))
    output = gdb(program, core, "print/x $_siginfo._sifields._sigfault.si_addr", "print n")
    assert "terminated with signal SIGSEGV" in output
    assert "= 0x1234" in output
    assert "= 42" in output


def test_a_core_of_a_panic_is_an_abort(platform, program, killed, tmp_path):
    core = tmp_path / "core"
    platform.write_core(core, killed("panic"))
    assert "terminated with signal SIGABRT" in gdb(program, core)


def test_every_readable_region_is_there_byte_by_byte(platform, killed, tmp_path):
    core = tmp_path / "core"
    page = platform.hooks.memory_map(request=MapRequest(3 * PAGE_SIZE)).base
    platform.machine.memory.write(page + PAGE_SIZE, bytes(range(256)) * 16)
    platform.hooks.memory_protect(address=page, size=PAGE_SIZE, protection=Protection.NONE)
    platform.write_core(core, killed("fault"))

    memory = platform.machine.memory
    territory = memory.territory
    regions = platform.hooks.memory_query_range(address=territory.start, size=territory.size)
    with opened(core) as elf:
        assert elf["e_type"] == "ET_CORE"
        loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        assert [(s["p_vaddr"], s["p_memsz"]) for s in loads] == [
            (region.base, region.size) for region in regions if region.is_readable
        ]
        for segment in loads:
            data = segment.data()
            assert len(data) == segment["p_filesz"] == segment["p_memsz"]
            assert data == memory.read(segment["p_vaddr"], len(data))


def test_pages_of_zeros_are_holes(platform, tmp_path):
    core = tmp_path / "core"
    region = platform.hooks.memory_map(request=MapRequest(256 << 20))
    for place in range(0, region.size, region.size // 4):
        platform.machine.memory.write(region.base + place + 5, b"a byte")
    platform.write_core(core)
    status = core.stat()
    assert status.st_size > region.size
    assert status.st_blocks * 512 < 4 << 20
    with opened(core) as elf:
        (segment,) = [s for s in elf.iter_segments() if s["p_vaddr"] == region.base]
        assert segment.data().count(b"a byte") == 4


def test_the_notes_name_the_images_files_and_where_they_lie(platform, program, killed, tmp_path):
    core = tmp_path / "core"
    platform.write_core(core, killed("fault"))
    (files,) = [content for kind, content in notes_of(core) if kind == "NT_FILE"]
    (image,) = platform.namespace.images
    assert {name.decode() for name in files["filename"]} == {str(program)}
    assert files["Elf_Nt_File_Entry"][0]["vm_start"] == image.range.start


def test_a_core_may_be_written_inside_a_handler_that_then_resumes(platform, program, tmp_path):
    core = tmp_path / "core"
    page = platform.hooks.memory_map(request=MapRequest(PAGE_SIZE, Protection.NONE)).base

    def allow(context):
        platform.write_core(core, context)
        platform.hooks.memory_protect(
            address=page, size=PAGE_SIZE, protection=Protection.READ_WRITE
        )
        return True

    platform.hooks.exception_register(
        task=platform.tasks.current, category=ExceptionCategory.INVALID_ADDRESS, handler=allow
    )
    assert platform.load(program).call("fault", page, 1) == 2 + 2 + 1 + 1
    frames = GDB_FRAME.findall(gdb(program, core, "bt"))
    assert frames[-4:-1] == ["store", "middle", "fault"]


def test_a_core_may_be_written_inside_a_host_function(platform, program, tmp_path):
    core = tmp_path / "core"

    def host(number):
        platform.write_core(core)
        return number

    address = platform.machine.export(host, 1, reenters=True, name="host")
    image = platform.load(program)
    assert image.call("host_call", address, 6) == 7
    write_core(platform, core.with_suffix(".idle"), program=image)
    assert "host_call" in gdb(program, core, "bt")


def test_every_task_has_its_registers(platform, program, tmp_path):
    core = tmp_path / "core"
    image = platform.load(program)
    main = platform.tasks.current

    def host_of_main(number):
        second = platform.tasks.create("second", platform.hooks)
        platform.tasks.select(second)
        result = image.call("host_call", inner, number + 1)
        platform.tasks.select(main)
        return result

    def host_of_second(number):
        platform.write_core(core)
        return number

    outer = platform.machine.export(host_of_main, 1, reenters=True, name="outer")
    inner = platform.machine.export(host_of_second, 1, reenters=True, name="inner")
    assert image.call("host_call", outer, 6) == 9

    output = gdb(program, core, "thread apply all bt")
    assert output.partition("Thread 2")[2].count(" in host_call (") == 2
    statuses = [content for kind, content in notes_of(core) if kind == "NT_PRSTATUS"]
    assert len(statuses) == 2


@pytest.mark.parametrize("function", ["fault", "panic"])
def test_a_core_shows_the_task_first_that_took_the_program_along(
    platform, program, tmp_path, function
):
    core = tmp_path / "core"
    image, tasks = platform.load(program), platform.tasks
    bystander = tasks.start(lambda: tasks.sleep(10**12), "bystander")
    dying = tasks.start(lambda: image.call(function, 0x1234, 41), "dying")
    with pytest.raises(GuestKilled) as caught:
        tasks.join(bystander)
    assert caught.value.task is dying

    platform.write_core(core, caught.value)

    assert GDB_FRAME.findall(gdb(program, core, "bt"))[-3:-1] == ["middle", function]
    statuses = [content for kind, content in notes_of(core) if kind == "NT_PRSTATUS"]
    identities = [int.from_bytes(status[32:36], sys.byteorder) for status in statuses]
    assert identities == [dying.id, tasks.main.id, bystander.id]  # pr_pid


@pytest.mark.parametrize("target", ["missing/core", "directory"])
def test_a_place_that_cannot_be_written_is_named_in_one_line(platform, tmp_path, target):
    (tmp_path / "directory").mkdir()
    with pytest.raises(UsageError, match=target) as caught:
        platform.write_core(tmp_path / target)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
    assert not list((tmp_path / "directory").iterdir())


@pytest.mark.usefixtures("small_files")
def test_a_failure_midway_leaves_the_old_file_and_nothing_else(platform, tmp_path):
    core = tmp_path / "core"
    core.write_text("the old one")
    page = platform.hooks.memory_map(request=MapRequest(1 << 20)).base
    platform.machine.memory.write(page, b"\1" * (1 << 20))
    with pytest.raises(UsageError, match="File too large"):
        platform.write_core(core)
    assert core.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [core]


@pytest.fixture
def small_files():
    """Files of this process may have 64 KiB at most; Python ignores SIGXFSZ by itself."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_core_is_its_owner_s_alone_and_says_it_is_one(platform, tmp_path):
    core = tmp_path / "core"
    platform.write_core(core)
    assert core.stat().st_mode & 0o777 == 0o600
    assert int.from_bytes(core.read_bytes()[16:18], sys.byteorder) == ET_CORE


def test_a_kill_handler_may_write_the_core(platform, program, tmp_path):
    core = tmp_path / "core"
    image = platform.load(program)
    hooks, task = platform.hooks, platform.tasks.current
    for function in ("fault", "panic"):
        hooks.exception_set_kill_handler(
            task=task, handler=lambda task, reason: platform.write_core(core)
        )
        with pytest.raises(GuestKilled):
            image.call(function, 0x1234, 41)
        frames = GDB_FRAME.findall(gdb(program, core, "bt"))
        assert frames[-3:-1] == ["middle", function]
