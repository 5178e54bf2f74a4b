package engine

import "syscall"

// diesWithParent makes a child get SIGTERM when the thread that started it ends.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
