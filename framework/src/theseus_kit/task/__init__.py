"""Tasks: the guest threads of a platform, and which of them is running.

::

    tasks.start(function, "worker")   ready: runs when the task that is running waits
    tasks.wait(queue, timeout_ns)     others run until queue.wake(), or the time is over
    tasks.yield_()                    others that are ready run first

All tasks of a platform share one host thread, one at a time. The Python side of each but the main
one is a greenlet, so a task may wait wherever Python has control and may call guest code: inside a
C function, a system call, an exception handler, however deep. The main task's Python side is
whoever calls the platform: the others run while it waits, or its guest code has run for longer
than the quantum.
"""

from theseus_kit.task.task import STACK_SIZE, Task
from theseus_kit.task.tasks import Tasks
from theseus_kit.task.wait_queue import WaitQueue

__all__ = ["STACK_SIZE", "Task", "Tasks", "WaitQueue"]
