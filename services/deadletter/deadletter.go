// Package deadletter lets operators look at the messages that were accepted and could not be
// stored, and decide what becomes of them. It is for the internal port: it shows every project's
// data and asks nobody who they are.
package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/midwatch/midwatch/proto/telemetrypb"
	"github.com/midwatch/midwatch/services/access"
	"github.com/midwatch/midwatch/storage/bus"
)

const (
	defaultLimit = 100
	// retryAfter is for a replay that the bus did not take.
	retryAfter = 5 * time.Second
)

// Letter is a dead letter in an answer. Frame, Data and DecodeError are only in answers about one.
type Letter struct {
	Seq         uint64     `json:"seq"`
	At          time.Time  `json:"at"`
	Signal      string     `json:"signal"`
	Reason      string     `json:"reason"`
	AcceptedAt  *time.Time `json:"accepted_at,omitempty"` // nil where it is not known
	OriginalSeq uint64     `json:"original_seq,omitempty"`
	// Offset is where it began in the message that had OriginalSeq.
	Offset int `json:"offset"`
	Bytes  int `json:"bytes"`
	// Frame is what it says, where it can be decoded.
	Frame json.RawMessage `json:"frame,omitempty"`
	// Data is the frame as it is, or as much as is kept of it, and DecodeError why there is no Frame.
	Data        []byte `json:"data_base64,omitempty"`
	DecodeError string `json:"decode_error,omitempty"`
}

// Page is a list of dead letters, oldest first.
type Page struct {
	DeadLetters []Letter `json:"dead_letters"`
	// NextAfter is what to ask for as after to get those that follow; 0 when these are the last.
	NextAfter uint64 `json:"next_after,omitempty"`
}

// Server answers about the dead letters of a bus.
type Server struct {
	bus    *bus.Bus
	log    *slog.Logger
	origin *http.CrossOriginProtection
}

// New returns a server over the dead letters of b.
func New(b *bus.Bus, log *slog.Logger) *Server {
	return &Server{bus: b, log: log, origin: http.NewCrossOriginProtection()}
}

// Mount serves /deadletters. It belongs on the internal port only.
func (s *Server) Mount(e *echo.Echo) {
	g := e.Group("/deadletters", s.guard)
	g.GET("", s.list)
	g.GET("/:seq", s.show)
	g.POST("/:seq/replay", s.replay)
	g.DELETE("/:seq", s.drop)
}

// guard keeps another site's page, open in an operator's browser, from changing anything, and
// everybody's caches from keeping what was shown.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		c.Response().Header().Set(echo.HeaderXContentTypeOptions, "nosniff")
		if s.origin.Check(c.Request()) != nil {
			return access.Forbidden("another site's page may not do this")
		}
		return next(c)
	}
}

func (s *Server) list(c echo.Context) error {
	var after uint64
	if text := c.QueryParam("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return access.Invalid("after is the sequence of a dead letter, not %q", text)
		}
	}
	limit := defaultLimit
	if text := c.QueryParam("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > bus.MaxDeadLetters {
			return access.Invalid("limit is 1 to %d, not %q", bus.MaxDeadLetters, text)
		}
	}
	letters, err := s.bus.DeadLetters(c.Request().Context(), after, limit)
	if err != nil {
		return err
	}
	page := Page{DeadLetters: make([]Letter, 0, len(letters))}
	for _, l := range letters {
		page.DeadLetters = append(page.DeadLetters, letterOf(l))
	}
	if len(letters) == limit {
		page.NextAfter = letters[limit-1].Seq // what follows may be an empty page
	}
	return c.JSON(http.StatusOK, page)
}

func (s *Server) show(c echo.Context) error {
	seq, err := seqOf(c)
	if err != nil {
		return err
	}
	found, err := s.bus.DeadLetter(c.Request().Context(), seq)
	if err != nil {
		return answer(seq, err)
	}
	letter := letterOf(found)
	if len(found.Data) < found.Bytes {
		err = fmt.Errorf("only the first %d of %d bytes are kept", len(found.Data), found.Bytes)
	} else {
		letter.Frame, err = decode(found.Signal, found.Data)
	}
	if err != nil {
		letter.Data, letter.DecodeError = found.Data, err.Error()
	}
	return c.JSON(http.StatusOK, letter)
}

func (s *Server) replay(c echo.Context) error {
	seq, err := seqOf(c)
	if err != nil {
		return err
	}
	if err := s.bus.Replay(c.Request().Context(), seq); err != nil {
		return answer(seq, err)
	}
	s.log.Info("dead letter replayed", "seq", seq)
	return c.NoContent(http.StatusNoContent)
}

func (s *Server) drop(c echo.Context) error {
	seq, err := seqOf(c)
	if err != nil {
		return err
	}
	if err := s.bus.Drop(c.Request().Context(), seq); err != nil {
		return answer(seq, err)
	}
	s.log.Info("dead letter dropped", "seq", seq)
	return c.NoContent(http.StatusNoContent)
}

func seqOf(c echo.Context) (uint64, error) {
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil || seq == 0 {
		return 0, access.Invalid("a dead letter is named by its sequence, a number from 1, not %q", c.Param("seq"))
	}
	return seq, nil
}

// answer gives the errors of the bus words.
func answer(seq uint64, err error) error {
	switch {
	case errors.Is(err, bus.ErrNoDeadLetter):
		return access.NotFound("there is no dead letter %d", seq)
	case errors.Is(err, bus.ErrNotReplayable):
		return access.Invalid("dead letter %d is too large to be replayed, or not all of it is kept; no client of Midwatch sent it", seq)
	case errors.Is(err, bus.ErrFull):
		return &access.Error{Code: access.CodeUnavailable, RetryAfter: retryAfter, Message: "the buffer is full: replay again once what waits in it is stored"}
	case errors.Is(err, bus.ErrUnavailable):
		return &access.Error{Code: access.CodeUnavailable, RetryAfter: retryAfter, Message: "the buffer does not answer: try again"}
	}
	return err
}

func letterOf(l bus.DeadLetter) Letter {
	letter := Letter{Seq: l.Seq, At: l.At, Signal: string(l.Signal), Reason: l.Reason, OriginalSeq: l.OriginalSeq, Offset: l.Offset, Bytes: l.Bytes}
	if !l.AcceptedAt.IsZero() {
		letter.AcceptedAt = &l.AcceptedAt
	}
	return letter
}

// frameOf is an empty frame of a signal, or nil where there is no such signal.
func frameOf(s bus.Signal) proto.Message {
	switch s {
	case bus.Logs:
		return &telemetrypb.LogFrame{}
	case bus.Metrics:
		return &telemetrypb.MetricFrame{}
	case bus.Errors:
		return &telemetrypb.ErrorFrame{}
	case bus.Checkins:
		return &telemetrypb.CheckinFrame{}
	}
	return nil
}

// decode makes a frame readable.
func decode(s bus.Signal, data []byte) (json.RawMessage, error) {
	f := frameOf(s)
	if f == nil {
		return nil, fmt.Errorf("there is no signal %q", s)
	}
	if err := proto.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("decode a frame of %s: %w", s, err)
	}
	if unknown := len(f.ProtoReflect().GetUnknown()); unknown > 0 {
		// It parses and says nothing: JSON would hide that there is something.
		return nil, fmt.Errorf("decode a frame of %s: %d of %d bytes are of fields that this version does not know", s, unknown, len(data))
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write a frame of %s as JSON: %w", s, err)
	}
	return text, nil
}
