// Package demo fills a project with the data of a small shop, as the SDKs of its services would
// send it: three services, deploys, a release that breaks the checkout, a worker that leaks
// memory, and jobs of which one is late. The same options tell the same story to the byte.
package demo

import (
	"context"
	_ "embed" // for Rules
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Rules are the alert rules of the shop, as `midwatch rules apply` takes them.
//
//go:embed rules.yaml
var Rules string

// Options say where to send what.
type Options struct {
	// URL is the base of HTTP intake, OTLPURL that of OTLP over HTTP; empty is the same.
	URL, OTLPURL string
	// Key is the project's ingest key and Project its number.
	Key     string
	Project uint32
	// Hours of past to send, 6 if zero; a week at most.
	Hours float64
	// Told, where set, is called when the past has been told.
	Told func(context.Context) error
	// Live goes on with the present until the context ends.
	Live bool
	// Rate multiplies the number of logs and errors; 1 if zero.
	Rate float64
	// Seed chooses the random numbers.
	Seed int64
	// Now is the end of the past.
	Now time.Time
	// Out is told the progress.
	Out io.Writer
}

const (
	// senders is how many requests are under way at once.
	senders = 6
	// chunkSlots is how many slots the logs of one request span.
	chunkSlots = 60
	// stepsPerRequest is how many readings of the metrics share a request.
	stepsPerRequest = 8
	// delay is how long after the fact the present is told: a visit may take that long.
	delay = 10 * time.Second

	progressInterval = time.Second
	maxHours         = 168
	maxRate          = 100
)

// Run sends the past and, with Live, the present until ctx ends. A past that was not sent whole is
// an error; faults in the present are told to Out and passed over.
func Run(ctx context.Context, o Options) error {
	o, err := o.complete()
	if err != nil {
		return err
	}
	d := &demo{
		Options: o, story: newStory(o),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders, MaxConnsPerHost: senders}},
	}
	defer d.client.CloseIdleConnections()
	d.meters = newMeters(d.story)
	if d.timetable, err = newTimetable(d.story); err != nil {
		return err
	}
	if err := d.past(ctx); err != nil {
		return fmt.Errorf("send the past: %w", err)
	}
	if o.Told != nil {
		if err := o.Told(ctx); err != nil {
			return err
		}
	}
	if !o.Live {
		return nil
	}
	fmt.Fprintln(o.Out, "going on with the present; interrupt to stop")
	return d.present(ctx)
}

func (o Options) complete() (Options, error) {
	if o.Hours == 0 {
		o.Hours = 6
	}
	if o.Rate == 0 {
		o.Rate = 1
	}
	if o.OTLPURL == "" {
		o.OTLPURL = o.URL
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	o.URL, o.OTLPURL = strings.TrimRight(o.URL, "/"), strings.TrimRight(o.OTLPURL, "/")
	switch {
	case o.URL == "" || o.Key == "" || o.Project == 0:
		return o, errors.New("an address, an ingest key and a project are needed")
	case !(o.Hours > 0 && o.Hours <= maxHours):
		return o, fmt.Errorf("the hours are more than 0 and at most %d", maxHours)
	case !(o.Rate > 0 && o.Rate <= maxRate):
		return o, fmt.Errorf("the rate is more than 0 and at most %d", maxRate)
	case o.Now.IsZero():
		return o, errors.New("the time of the end is needed")
	}
	return o, nil
}

type demo struct {
	Options
	story     *story
	meters    *meters
	timetable *timetable
	client    *http.Client
	sent      [signals]atomic.Int64
	planned   [signals]int64
}

// lastSlot is the newest slot that can be told at a time.
func lastSlot(now time.Time) int64 { return slotOf(now.Add(-delay)) - 1 }

// past sends everything up to now.
func (d *demo) past(ctx context.Context) error {
	first, last := slotOf(d.story.begin), lastSlot(d.story.now)
	if err := d.plan(first, last); err != nil {
		return err
	}
	stop := d.report(ctx)
	defer stop()
	group, sending := errgroup.WithContext(ctx)
	group.SetLimit(senders)
	// The metrics count up, so they are made in order; what was made is sent at once.
	var readings []reading
	steps := 0
	for slot := first; slot <= last; slot++ {
		if sending.Err() != nil {
			break
		}
		if slot%chunkSlots == 0 || slot == first {
			from, to := slot, min(slot/chunkSlots*chunkSlots+chunkSlots-1, last)
			group.Go(func() error { return d.tell(sending, from, to) })
		}
		if (slot+1)%stepSlots == 0 {
			readings = append(readings, d.meters.read(slotTime(slot+1))...)
			steps++
		}
		if steps == stepsPerRequest || slot == last && steps > 0 {
			batch := readings
			readings, steps = nil, 0
			group.Go(func() error { return d.sendMetrics(sending, batch) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := d.sendDeploys(ctx, first, last); err != nil {
		return err
	}
	runs, err := d.timetable.first()
	if err != nil {
		return err
	}
	return d.sendRuns(ctx, runs)
}

// plan counts what the past will have, for the progress.
func (d *demo) plan(first, last int64) error {
	counting := newMeters(d.story)
	for slot := first; slot <= last; slot++ {
		d.planned[logs] += int64(len(d.story.logs(slot)))
		events, err := d.story.errors(slot)
		if err != nil {
			return err
		}
		d.planned[errorEvents] += int64(len(events))
		if (slot+1)%stepSlots == 0 {
			for _, r := range counting.read(slotTime(slot + 1)) {
				d.planned[metrics] += int64(r.points())
			}
		}
	}
	for _, next := range d.story.deploys {
		if slot := slotOf(next.at); slot >= first && slot <= last {
			d.planned[deploys] += int64(len(services))
		}
	}
	d.planned[checkins] = int64(2 * len(d.timetable.jobs))
	return nil
}

// tell sends the logs and errors of some slots.
func (d *demo) tell(ctx context.Context, first, last int64) error {
	var asJSON, asOTLP []line
	var events []event
	for slot := first; slot <= last; slot++ {
		for _, l := range d.story.logs(slot) {
			if l.service == web {
				asJSON = append(asJSON, l)
			} else {
				asOTLP = append(asOTLP, l)
			}
		}
		happened, err := d.story.errors(slot)
		if err != nil {
			return err
		}
		events = append(events, happened...)
	}
	if len(asJSON) > 0 {
		r, err := jsonLogs(d.Options, d.story, asJSON)
		if err != nil {
			return err
		}
		if err := d.send(ctx, r); err != nil {
			return err
		}
	}
	if len(asOTLP) > 0 {
		r, err := otlpLogs(d.Options, d.story, asOTLP)
		if err != nil {
			return err
		}
		if err := d.send(ctx, r); err != nil {
			return err
		}
	}
	for _, e := range events {
		if err := d.send(ctx, envelope(d.Options, fmt.Sprintf("{\"event_id\":%q}", e.id), "event", e.json)); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) sendMetrics(ctx context.Context, readings []reading) error {
	r, err := otlpMetrics(d.Options, readings)
	if err != nil {
		return err
	}
	return d.send(ctx, r)
}

// sendRuns tells of the runs one after another: their order is their meaning.
func (d *demo) sendRuns(ctx context.Context, runs []run) error {
	for _, run := range runs {
		r, err := run.request(d.Options)
		if err != nil {
			return err
		}
		if err := d.send(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// sendDeploys tells of the deploys of some slots, as the shop's pipeline does.
func (d *demo) sendDeploys(ctx context.Context, first, last int64) error {
	for _, next := range d.story.deploys {
		if slot := slotOf(next.at); slot < first || slot > last {
			continue
		}
		for _, service := range services {
			r, err := next.request(d.Options, service)
			if err != nil {
				return err
			}
			if err := d.send(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *demo) send(ctx context.Context, r request) error {
	if err := send(ctx, d.client, r); err != nil {
		return err
	}
	d.sent[r.signal].Add(int64(r.count))
	return nil
}

// present tells each slot when it is over, until ctx ends.
func (d *demo) present(ctx context.Context) error {
	ticker := time.NewTicker(slotLength)
	defer ticker.Stop()
	slot := lastSlot(d.story.now) + 1
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		last := lastSlot(time.Now())
		err := d.moment(ctx, slot, last)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintln(d.Out, "not sent:", err)
		}
		slot = max(slot, last+1)
	}
}

// moment sends what happened in some slots, a few minutes' worth at most after a pause.
func (d *demo) moment(ctx context.Context, first, last int64) error {
	runs, err := d.timetable.until(time.Now().UTC())
	if err != nil {
		return err
	}
	errs := []error{d.sendRuns(ctx, runs), d.sendDeploys(ctx, first, last)}
	var readings []reading
	for slot := first; slot <= last; slot++ {
		if (slot+1)%stepSlots == 0 {
			readings = append(readings, d.meters.read(slotTime(slot+1))...)
		}
	}
	errs = append(errs, d.tell(ctx, max(first, last-2*chunkSlots), last))
	if len(readings) > 0 {
		errs = append(errs, d.sendMetrics(ctx, readings))
	}
	return errors.Join(errs...)
}

// report writes a line each second until it is stopped, and a last one then.
func (d *demo) report(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				fmt.Fprintf(d.Out, "%s in %s\n", d.progress(), time.Since(began).Round(100*time.Millisecond))
				return
			case <-ticker.C:
				fmt.Fprintln(d.Out, d.progress())
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// progress is "logs 12,000/48,000  metrics …".
func (d *demo) progress() string {
	parts := make([]string, 0, signals)
	for s := range signals {
		parts = append(parts, signalNames[s]+" "+grouped(d.sent[s].Load())+"/"+grouped(d.planned[s]))
	}
	return strings.Join(parts, "  ")
}

// grouped writes 12000 as "12,000".
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
