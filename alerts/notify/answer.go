package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// PermanentError is an answer that another attempt will not change. Broken tells that the receiver itself has to be
// repaired by its owner: its address or its key is wrong.
type PermanentError struct {
	Code   int
	Broken bool
	Reason string
}

func (e *PermanentError) Error() string { return "refused: " + e.Reason }

// RetryError is a failure that may heal by itself. After is how long the receiver asked to wait, 0 if it did not.
type RetryError struct {
	Code   int
	After  time.Duration
	Reason string
	Err    error // nil if there was an answer
}

func (e *RetryError) Error() string { return "failed: " + e.Reason }
func (e *RetryError) Unwrap() error { return e.Err }

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// Failure is the error of a status that is not 2xx, by the rules of delivery: 408, 429 and 5xx are worth another
// attempt, everything else is permanent. After is how long the answer asked to wait.
func Failure(code int, after time.Duration, reason string) error {
	if code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500 {
		return &RetryError{Code: code, After: min(max(after, 0), maxRetryAfter), Reason: reason}
	}
	broken := false
	switch code {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
		http.StatusMovedPermanently, http.StatusPermanentRedirect:
		broken = true
	}
	return &PermanentError{Code: code, Broken: broken, Reason: reason}
}

// Client calls the APIs of receivers. Its HTTP client decides which addresses may be reached at all; redirects are
// never followed, since they could lead elsewhere.
type Client struct {
	HTTP *http.Client
	Now  func() time.Time
}

// Answer is what came back, its body cut at 64 KiB.
type Answer struct {
	Code   int
	Header http.Header
	Body   []byte
	After  time.Duration // of Retry-After
}

const maxAnswer = 64 << 10

// Receipt is the answer for the delivery log.
func (a Answer) Receipt() Receipt {
	return Receipt{Code: a.Code, Excerpt: clean(string(a.Body), 300)}
}

// Post sends a body as JSON. The error of an answer that is not 2xx is that of Failure; the answer comes with it.
// Errors never hold the address, which for many receivers is the secret.
func (c Client) Post(ctx context.Context, address string, header http.Header, body []byte) (Answer, error) {
	return c.Do(ctx, http.MethodPost, address, header, body)
}

// Do is Post with any method.
func (c Client) Do(ctx context.Context, method, address string, header http.Header, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return Answer{}, &PermanentError{Broken: true, Reason: "the address is not valid"}
	}
	// Without it the transport does not send again by itself, after a reset, what has an idempotency key: the second
	// answer would hide that the first attempt may have been taken.
	req.GetBody = nil
	if header != nil {
		req.Header = header.Clone()
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "Midwatch")
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, unreachable(err)
	}
	defer resp.Body.Close()
	// once there is a status the receiver has decided; a body that breaks off changes nothing.
	answered, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	answer := Answer{Code: resp.StatusCode, Header: resp.Header, Body: answered}
	answer.After = retryAfter(resp.Header.Get("Retry-After"), c.Now())
	if answer.Code >= 200 && answer.Code < 300 {
		return answer, nil
	}
	reason := fmt.Sprintf("answered %d", answer.Code)
	if answer.Code >= 300 && answer.Code < 400 {
		reason += ": redirects are not followed"
	} else if excerpt := clean(string(answered), 200); excerpt != "" {
		reason += ": " + excerpt
	}
	return answer, Failure(answer.Code, answer.After, reason)
}

func unreachable(err error) error {
	if withAddress, ok := errors.AsType[*url.Error](err); ok {
		err = withAddress.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &RetryError{Reason: "no answer in time", Err: err}
	}
	// a dialer that refuses an address (a private one, for example) may say that it will go on refusing.
	var refusal interface{ Permanent() bool }
	if errors.As(err, &refusal) && refusal.Permanent() {
		return &PermanentError{Broken: true, Reason: clean(err.Error(), 200)}
	}
	return &RetryError{Reason: clean(err.Error(), 200), Err: err}
}

// retryAfter reads seconds or an HTTP date.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// CheckAddress tells a person what is wrong with the address of a receiver. Whether it may be reached is decided when
// it is called, by what its name then resolves to.
func CheckAddress(s string) error {
	switch u, err := url.Parse(s); {
	case s == "":
		return errors.New("it is missing")
	case err != nil || u.Host == "":
		return errors.New("it is not an address like https://example.com/hook")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it has to begin with https:// or http://")
	case u.User != nil:
		return errors.New("it must not hold a name and password")
	case len(s) > maxURL:
		return fmt.Errorf("it is longer than %d characters", maxURL)
	}
	return nil
}
