package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const loopback = "127.0.0.1"

// ports are two free loopback ports, held for the engine: sockets are bound to them that never
// listen. Nobody else gets the ports while the child is down, and the child, which sets
// SO_REUSEPORT as they do, gets them nevertheless.
type ports struct {
	tcp, http int
	sockets   [2]int
}

func reservePorts() (*ports, error) {
	var p ports
	for i, port := range []*int{&p.tcp, &p.http} {
		var err error
		if p.sockets[i], *port, err = reservePort(); err != nil {
			for _, s := range p.sockets[:i] {
				unix.Close(s)
			}
			return nil, fmt.Errorf("find a free port on %s: %w", loopback, err)
		}
	}
	return &p, nil
}

func reservePort() (socket, port int, err error) {
	syscall.ForkLock.RLock() // no child may be started between the next two lines
	socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, 0, err
	}
	err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(socket)
	}
	if err != nil {
		unix.Close(socket)
		return 0, 0, err
	}
	return socket, bound.(*unix.SockaddrInet4).Port, nil
}

func (p *ports) release() {
	for _, s := range p.sockets {
		unix.Close(s)
	}
}

// lockDir takes dir for this process until unlock is called or the process ends. A child does not
// inherit it.
func lockDir(dir string) (unlock func(), err error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the engine's folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(name) // only to say more
		f.Close()
		return nil, fmt.Errorf("the engine's folder %s is used by another running process (pid %s)",
			dir, strings.TrimSpace(string(holder)))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the engine's folder: %w", err)
	}
	return func() { f.Close() }, nil
}
