"""What happens when guest code leaves: on an import call, a system call, an exception."""
