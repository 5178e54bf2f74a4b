package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	killRecords = 100_000
	killBatch   = 500
	killSenders = 8
)

// send posts one batch until it is accepted, as a client with retries does: refused connections
// and cut answers included. The bytes are the same on every try.
func send(t *testing.T, client *http.Client, url string, body []byte) {
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err == nil {
			answer, readErr := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && readErr == nil {
				return
			}
			if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
				t.Errorf("a batch was refused: %s: %s", resp.Status, answer)
				return
			}
		}
		select {
		case <-t.Context().Done():
			t.Error("the test ended before a batch was accepted")
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// flood sends killRecords log records, each with an id of its own, and calls at with the number
// of batches that were accepted so far.
func flood(t *testing.T, s *server, at func(accepted int64)) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: killSenders}}
	defer client.CloseIdleConnections()
	batches := make(chan int)
	var accepted atomic.Int64
	var wg sync.WaitGroup
	began := time.Now().UTC()
	for range killSenders {
		wg.Go(func() {
			for batch := range batches {
				var body bytes.Buffer
				for i := batch * killBatch; i < (batch+1)*killBatch; i++ {
					fmt.Fprintf(&body, `{"time":%q,"level":"info","service":"kill","message":"record id%06d of the flood","n":%d}`+"\n",
						began.Add(time.Duration(i)*time.Microsecond).Format(time.RFC3339Nano), i, i)
				}
				send(t, client, s.http+"/v1/ingest/logs", body.Bytes())
				at(accepted.Add(1))
			}
		})
	}
	for batch := range killRecords / killBatch {
		batches <- batch
	}
	close(batches)
	wg.Wait()
}

// verifyFlood reads every record back and counts each id.
func verifyFlood(t *testing.T, s *server) {
	await(t, "every accepted record is there", func() error {
		n, err := s.countLogs("flood")
		if err == nil && n < killRecords {
			err = fmt.Errorf("%d of %d", n, killRecords)
		}
		return err
	})
	seen := make([]int, killRecords)
	query := around("q", "flood", "limit", "1000")
	for pages := 0; ; pages++ {
		var page struct {
			Rows []struct{ Attributes map[string]string }
			Next string `json:"next_cursor"`
		}
		if err := s.api("/projects/1/logs", query, &page); err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			var n int
			if _, err := fmt.Sscan(row.Attributes["n"], &n); err != nil || n < 0 || n >= killRecords {
				t.Fatalf("a record of nobody: %v", row)
			}
			seen[n]++
		}
		if page.Next == "" {
			break
		}
		query.Set("cursor", page.Next)
	}
	var lost, doubled int
	for _, n := range seen {
		switch {
		case n == 0:
			lost++
		case n > 1:
			doubled += n - 1
		}
	}
	if lost+doubled > 0 {
		t.Fatalf("of %d acknowledged records %d are lost and %d are doubled", killRecords, lost, doubled)
	}
}

func TestKillOfTheProcessLosesAndDoublesNothing(t *testing.T) {
	s := up(t)
	kills := map[int64]bool{30: true, 80: true, 130: true}
	var restart sync.Mutex
	flood(t, s, func(accepted int64) {
		if !kills[accepted] {
			return
		}
		restart.Lock()
		defer restart.Unlock()
		s.kill()
		s.start()
	})
	s.awaitReady()
	verifyFlood(t, s)
}

func TestKillOfClickHouseLosesAndDoublesNothing(t *testing.T) {
	s := up(t)
	kills := map[int64]bool{30: true, 80: true, 130: true}
	var killing sync.Mutex
	flood(t, s, func(accepted int64) {
		if !kills[accepted] {
			return
		}
		killing.Lock()
		defer killing.Unlock()
		await(t, "a ClickHouse child", func() error {
			if s.enginePID() == 0 {
				return fmt.Errorf("there is none")
			}
			return nil
		})
		if err := syscall.Kill(s.enginePID(), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	s.awaitReady()
	verifyFlood(t, s)
}
