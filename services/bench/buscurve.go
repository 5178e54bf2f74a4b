package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// busCurve adds what grouping brings: the bus alone, with many requests in a message and its sync,
// and with a message and a sync for each. It is the benchmark of storage/bus.
func (b *bench) busCurve(ctx context.Context) error {
	lasting := "2s"
	if b.small {
		lasting = "200ms"
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPublishers$", "-benchtime", lasting, "./storage/bus")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go test -bench in storage/bus: %w\n%s", err, out)
	}
	found := parseBusCurve(out)
	if len(found) == 0 {
		return fmt.Errorf("go test -bench in storage/bus says nothing of publishers:\n%s", out)
	}
	for _, f := range found {
		b.set(f.name, f.value)
	}
	for _, clients := range []int{1, 8, 64, 512} {
		grouped, alone := fmt.Sprintf("bus_grouped_%d_", clients), fmt.Sprintf("bus_alone_%d_", clients)
		fmt.Printf("  bus, %d clients: %.0f requests/s grouped (p99 %.1f ms), %.0f alone (p99 %.1f ms)\n", clients,
			b.values[grouped+"requests_per_second"], b.values[grouped+"ack_p99_ms"], b.values[alone+"requests_per_second"], b.values[alone+"ack_p99_ms"])
	}
	return nil
}

type named struct {
	name  string
	value float64
}

// parseBusCurve reads lines such as
// BenchmarkPublishers/grouped/64-2  100  1234 ns/op  0.5 p50-ms  1.5 p99-ms  9000 requests/s.
func parseBusCurve(out []byte) (all []named) {
	units := map[string]string{"p50-ms": "ack_p50_ms", "p99-ms": "ack_p99_ms", "requests/s": "requests_per_second"}
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 0 {
			continue
		}
		path := strings.Split(fields[0], "/")
		if len(path) != 3 || path[0] != "BenchmarkPublishers" {
			continue
		}
		clients, _, _ := strings.Cut(path[2], "-")
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if unit, ok := units[fields[i+1]]; ok && err == nil {
				all = append(all, named{"bus_" + path[1] + "_" + clients + "_" + unit, value})
			}
		}
	}
	return all
}
