"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import pytest

from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import ThreadLocalStorageConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.values.memory import BytesBacking, MapRequest, Protection
from theseus_kit_tlibc.plugin import TlibcPlugin

READ = Protection.READ


def is_test_s(template):
    return template.image == "conformance.so"


@caught_by("test_modules_have_numbers_of_their_own_from_one_on")
class CountsModulesFromZero(TlibcPlugin):
    @hookimpl
    def tls_add_module(self, template):
        return super().tls_add_module(template) - 1


@caught_by("test_a_block_starts_as_its_template_and_then_is_zero")
class LeavesTheTailAsItWas(TlibcPlugin):
    @hookimpl
    def tls_address(self, task, module, offset):
        address = super().tls_address(task, module, offset)
        if self._tls._modules[module].size == 100:
            self._library.memory.write(address + 99, b"?")
        return address


@caught_by("test_each_task_has_blocks_of_its_own")
class GivesEveryTaskTheFirstOnesBlock(TlibcPlugin):
    @hookimpl
    def tls_address(self, task, module, offset):
        first = next(iter(self._tls._areas))
        return super().tls_address(first, module, offset)


@caught_by("test_a_variable_stays_where_it_is_and_offsets_count_from_the_block")
class MakesABlockAtEachUse(TlibcPlugin):
    @hookimpl
    def tls_address(self, task, module, offset):
        if not self._tls._modules[module].static:
            self._tls._areas[task].blocks.pop(module, None)
        return super().tls_address(task, module, offset)


@caught_by("test_blocks_have_their_alignment_and_lie_apart")
class IgnoresAlignment(TlibcPlugin):
    @hookimpl
    def tls_add_module(self, template):
        return super().tls_add_module(template._replace(alignment=1))


@caught_by("test_a_static_block_lies_at_its_negative_offset_in_every_task")
class CountsOffsetsUpwards(TlibcPlugin):
    @hookimpl
    def tls_static_offset(self, module):
        return -super().tls_static_offset(module)


@caught_by("test_a_static_module_reaches_tasks_that_exist_already")
class ForgetsTasksThatExist(TlibcPlugin):
    @hookimpl
    def tls_add_module(self, template):
        areas, self._tls._areas = self._tls._areas, {}
        try:
            return super().tls_add_module(template)
        finally:
            self._tls._areas = areas


@caught_by("test_a_static_module_reaches_tasks_that_start_later")
class ForgetsTasksThatStartLater(TlibcPlugin):
    @hookimpl
    def tls_create_area(self, task):
        offsets, self._tls._static_offsets = self._tls._static_offsets, {}
        try:
            return super().tls_create_area(task)
        finally:
            self._tls._static_offsets = offsets


@caught_by("test_what_is_not_static_has_no_static_offset")
class SaysZeroForDynamicModules(TlibcPlugin):
    @hookimpl
    def tls_static_offset(self, module):
        return self._tls._static_offsets.get(module, 0)


@caught_by("test_a_module_is_removed_once")
class RemovesModulesAgain(TlibcPlugin):
    @hookimpl
    def tls_remove_module(self, module):
        if module in self._tls._modules:
            super().tls_remove_module(module)


@caught_by("test_a_removed_module_has_no_variables_any_more")
class RemembersRemovedModules(TlibcPlugin):
    @hookimpl
    def tls_remove_module(self, module):
        template = self._tls._modules.get(module)
        super().tls_remove_module(module)
        self._tls._modules[module] = template


@caught_by("test_the_blocks_of_removed_modules_are_freed")
class KeepsBlocksOfRemovedModules(TlibcPlugin):
    @hookimpl
    def tls_remove_module(self, module):
        for area in self._tls._areas.values():
            area.allocated.pop(module, None)
        super().tls_remove_module(module)


@caught_by("test_the_control_block_tells_its_own_address")
class LeavesOutTheSecondPointer(TlibcPlugin):
    @hookimpl
    def tls_create_area(self, task):
        base = super().tls_create_area(task)
        self._library.memory.write_u64(base + 0x10, 0)
        return base


@caught_by("test_the_control_block_has_a_canary_whose_low_byte_is_zero")
class HasNoCanary(TlibcPlugin):
    @hookimpl
    def tls_create_area(self, task):
        base = super().tls_create_area(task)
        self._library.memory.write_u64(base + 0x28, 0)
        return base


@caught_by("test_guest_code_finds_static_variables_by_fs")
class AnswersAnotherBase(TlibcPlugin):
    @hookimpl
    def tls_create_area(self, task):
        return super().tls_create_area(task) + 8


@caught_by("test_ended_tasks_give_their_storage_back")
class KeepsAreasOfEndedTasks(TlibcPlugin):
    @hookimpl
    def tls_destroy_area(self, task):
        self._tls._areas.pop(task, None)


@caught_by("test_a_key_holds_a_value_for_each_task")
class KeepsOneValueForAllTasks(TlibcPlugin):
    @hookimpl
    def tls_key_set(self, task, key, value):
        for each in self._tls._areas:
            super().tls_key_set(each, key, value)


@caught_by("test_a_key_that_was_never_set_is_zero")
class AnswersNothingForUnsetKeys(TlibcPlugin):
    @hookimpl
    def tls_key_get(self, task, key):
        return self._tls._areas[task].values.get(key)


@caught_by("test_a_deleted_key_is_unknown")
class SetsDeletedKeys(TlibcPlugin):
    @hookimpl
    def tls_key_set(self, task, key, value):
        self._tls._areas[task].values[key] = value


@caught_by("test_a_new_key_has_no_value_of_a_deleted_one")
class InheritsDeletedKeysValues(TlibcPlugin):
    @hookimpl
    def tls_key_delete(self, key):
        values = {task: area.values.get(key) for task, area in self._tls._areas.items()}
        super().tls_key_delete(key)
        for task, value in values.items():
            self._tls._areas[task].values[key] = value


@caught_by("test_a_deleted_key_s_destructor_never_runs")
class RunsDestructorsOfDeletedKeys(TlibcPlugin):
    @hookimpl
    def tls_key_delete(self, key):
        destructor = self._tls._keys.get(key)
        for area in self._tls._areas.values():
            if destructor and area.values.get(key):
                area.destructors.append((destructor, area.values[key]))
        super().tls_key_delete(key)


@caught_by("test_a_task_s_destructors_run_when_it_ends_and_no_other_s")
class RunsEveryTasksDestructors(TlibcPlugin):
    @hookimpl
    def tls_run_destructors(self, task):
        for each in self._tls._areas:
            super().tls_run_destructors(each)


@caught_by("test_destructors_run_last_registered_first")
class RunsDestructorsInOrderOfRegistration(TlibcPlugin):
    """As Theseus does."""

    @hookimpl
    def tls_run_destructors(self, task):
        self._tls._areas[task].destructors.reverse()
        super().tls_run_destructors(task)


@caught_by("test_keys_destructors_run_after_the_others_with_the_keys_values")
class RunsKeysDestructorsFirst(TlibcPlugin):
    @hookimpl
    def tls_run_destructors(self, task):
        area = self._tls._areas[task]
        kept, area.destructors = area.destructors, []
        super().tls_run_destructors(task)
        area.destructors = kept
        super().tls_run_destructors(task)


@caught_by("test_a_destructor_that_sets_its_key_again_runs_four_times_at_most")
class RunsKeysDestructorsOnce(TlibcPlugin):
    @hookimpl
    def tls_run_destructors(self, task):
        keys, once = self._tls._keys, set()

        class Once:
            @staticmethod
            def get(key):
                return None if key in once else once.add(key) or keys[key]

            def __getitem__(self, key):
                return keys[key]

            def __contains__(self, key):
                return key in keys

        self._tls._keys = Once()
        super().tls_run_destructors(task)
        self._tls._keys = keys


@caught_by("test_destructors_that_are_added_by_a_destructor_run_too")
class ForgetsDestructorsThatAreAddedLate(TlibcPlugin):
    @hookimpl
    def tls_run_destructors(self, task):
        area = self._tls._areas[task]
        pending, area.destructors = area.destructors, []
        while pending:
            function, argument = pending.pop()
            self._library.machine.call(function, (argument,))
        area.destructors.clear()
        super().tls_run_destructors(task)


@caught_by("test_wasmtime_keeps_account_of_calls_within_calls")
class GivesBlocksThatCannotBeWritten(TlibcPlugin):
    @hookimpl
    def tls_address(self, task, module, offset):
        template = self._tls._modules[module]
        if is_test_s(template):
            return super().tls_address(task, module, offset)
        request = MapRequest(template.size, READ, backing=BytesBacking(template.initial))
        return self.services.hooks.memory_map(request=request).base + offset


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    assert unproved(ThreadLocalStorageConformance, MUTANTS) == []
