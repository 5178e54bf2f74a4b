package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// wordsError is an error that is fit for a person as it stands.
type wordsError struct{ text string }

func (e *wordsError) Error() string { return e.text }

func words(format string, args ...any) error {
	return &wordsError{fmt.Sprintf(format, args...)}
}

// explain says in a person's words why a run failed; at is how far it came.
func explain(err error, at progress, timeout time.Duration) string {
	return clip(explanation(err, at, timeout), maxErrorBytes)
}

func explanation(err error, at progress, timeout time.Duration) string {
	if said, ok := errors.AsType[*wordsError](err); ok {
		return said.text
	}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return refused.Error()
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok && name.IsNotFound {
		return "name not found: " + strings.TrimSuffix(name.Name, ".")
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Sprintf("timed out after %s while %s", seconds(timeout), at.doing())
	}
	where := at.address
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil && op.Op == "dial" {
		where = op.Addr.String()
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused by " + where
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "there is no way to " + where
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s broke the connection off while %s", where, at.doing())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("%s ended the connection while %s", where, at.doing())
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the name %s could not be looked up: %s", strings.TrimSuffix(name.Name, "."), name.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return where + " does not answer with TLS"
	}
	if cause, ok := errors.AsType[*url.Error](err); ok {
		err = cause.Err
	}
	text := strings.TrimPrefix(err.Error(), "net/http: ")
	return fmt.Sprintf("failed while %s: %s", at.doing(), text)
}

func isTimeout(err error) bool {
	timed, ok := errors.AsType[net.Error](err)
	return ok && timed.Timeout()
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%g s", d.Seconds())
}

// clip makes a text that others wrote one line of bounded length.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
