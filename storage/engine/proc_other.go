//go:build !linux

package engine

import "syscall"

// diesWithParent asks for nothing here: the system has no such thing.
func diesWithParent() *syscall.SysProcAttr { return nil }
