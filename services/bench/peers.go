package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	collectorVersion = "0.161.0"
	// peerQuiet is how long a program has to be idle that cannot be asked whether it is done.
	peerQuiet = 6 * time.Second
)

// peers gives the same requests to other programs.
func peers(ctx context.Context, b *bench) error {
	corpus, err := b.metricSamples()
	if err != nil {
		return err
	}
	for _, one := range []struct {
		name, program string
		measure       func(ctx context.Context, binary string, corpus *metricCorpus) error
	}{
		{"victoria-metrics", "victoria-metrics", b.victoriaMetrics},
		{"prometheus", "prometheus", b.prometheus},
	} {
		binary, version, err := b.debian(ctx, one.name, one.program)
		if err != nil {
			b.note("%s is not measured: %v", one.name, err)
			continue
		}
		fmt.Printf("  %s %s\n", one.name, version)
		if err := one.measure(ctx, binary, corpus); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	if _, _, err := b.debian(ctx, "victoria-logs", "victoria-logs"); err != nil {
		b.note("victoria-logs is not measured: %v", err)
	} else {
		b.note("victoria-logs is not measured: it can be had now, and this program does not know yet how to drive it")
	}
	binary, err := b.collector(ctx)
	if err != nil {
		b.note("the OpenTelemetry Collector is not measured: %v", err)
		return nil
	}
	return b.otelCollector(ctx, binary, corpus)
}

// debian finds the program of a Debian package: on PATH, in the cache, or in the package, which is
// fetched and unpacked without being installed, so that nothing on this machine is started.
func (b *bench) debian(ctx context.Context, name, program string) (binary, version string, err error) {
	if binary, err = exec.LookPath(program); err == nil {
		return binary, "from PATH", nil
	}
	out, err := exec.CommandContext(ctx, "apt-cache", "policy", name).Output()
	if err != nil {
		return "", "", fmt.Errorf("it is not on PATH and there is no apt: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok {
			version = rest
		}
	}
	if version == "" || version == "(none)" {
		return "", "", errors.New("it is not on PATH and Debian has no such package")
	}
	dir := filepath.Join(b.cache, name+"-"+strings.NewReplacer(":", "_", "/", "_").Replace(version))
	binary = filepath.Join(dir, "usr", "bin", program)
	if _, err := os.Stat(binary); err == nil {
		return binary, version, nil
	}
	work, err := os.MkdirTemp(b.work, name)
	if err != nil {
		return "", "", err
	}
	fetch := exec.CommandContext(ctx, "apt-get", "download", "-q", name+"="+version)
	fetch.Dir = work
	if out, err := fetch.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("apt-get download: %w: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(found) != 1 {
		return "", "", fmt.Errorf("apt-get download brought %d packages", len(found))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", found[0], dir).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("dpkg-deb: %w: %s", err, out)
	}
	_, err = os.Stat(binary)
	return binary, version, err
}

// collector builds the OpenTelemetry Collector once, into the cache.
func (b *bench) collector(ctx context.Context) (string, error) {
	config, err := filepath.Abs(filepath.Join("deployments", "benchmarks", "collector", "builder.yaml"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, "collector-"+collectorVersion)
	binary := filepath.Join(dir, "src", "otelcol-bench")
	if _, err := os.Stat(binary); !errors.Is(err, fs.ErrNotExist) {
		return binary, err
	}
	fmt.Println("  building the OpenTelemetry Collector, once, which takes minutes")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Outside of this module, with a go.mod of its own that the builder makes.
	cmd := exec.CommandContext(ctx, "nice", "go", "run", "go.opentelemetry.io/collector/cmd/builder@v"+collectorVersion, "--config", config, "--output-path", filepath.Join(dir, "src"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build it: %w: %s", err, out[max(0, len(out)-2000):])
	}
	return binary, nil
}

// peer is one program of somebody else with a data folder.
type peer struct {
	*process
	dir, base string
}

// start runs a peer whose arguments contain DIR and ADDRESS for its folder, which is a new one when
// dir is empty, and for where it is to listen, and waits until a page of it answers.
func (b *bench) start(ctx context.Context, name, binary, dir, page string, args ...string) (_ *peer, err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp(b.work, name+"-"); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	p := &peer{dir: dir, base: "http://" + address}
	for i := range args {
		args[i] = strings.NewReplacer("DIR", dir, "ADDRESS", address).Replace(args[i])
	}
	if name == "prometheus" {
		if err := os.WriteFile(filepath.Join(dir, "empty.yml"), nil, 0o644); err != nil {
			return nil, err
		}
	}
	if p.process, err = startProcess(name, nil, binary, args...); err != nil {
		return nil, err
	}
	err = p.await(ctx, "its first answer", patience, func() error {
		_, err := get(ctx, p.base+page, "")
		return err
	})
	if err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

func (p *peer) pid() int { return p.cmd.Process.Pid }

// report prints and keeps what is the same of every peer.
func (b *bench) report(prefix, unit string, n int, cpu time.Duration, s sent, peak float64) {
	b.set(prefix+unit+"_per_cpu_second", float64(n)/cpu.Seconds())
	fmt.Printf("    %d %s, %.2f CPU s, %.0f per CPU s, acknowledged in p50 %.1f ms p99 %.1f ms, peak %.0f MB\n",
		n, unit, cpu.Seconds(), float64(n)/cpu.Seconds(), quantile(s.acks, .5), quantile(s.acks, .99), peak)
}

func (b *bench) victoriaMetrics(ctx context.Context, binary string, corpus *metricCorpus) (err error) {
	run := func(dir string) (*peer, error) {
		return b.start(ctx, "victoria-metrics", binary, dir, "/health",
			"-storageDataPath=DIR/data", "-httpListenAddr=ADDRESS", "-retentionPeriod=2", "-search.latencyOffset=0s")
	}
	p, err := run("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.kill(), os.RemoveAll(p.dir)) }()
	if _, err := settleCPU(ctx, peerQuiet, p.pid()); err != nil {
		return err
	}
	b.set("victoria_metrics_idle_rss_mb", memory(p.pid(), "VmRSS"))
	requests := corpus.remoteWrite(connections)
	before := look(p.pid())
	s, err := send(ctx, p.base, requests, connections, true)
	if err != nil {
		return p.fault(err)
	}
	after, err := settleCPU(ctx, peerQuiet, p.pid())
	if err != nil {
		return err
	}
	b.report("victoria_metrics_", "samples", corpus.count, after.cpu-before.cpu, s, memory(p.pid(), "VmHWM"))
	b.set("victoria_metrics_peak_rss_mb", memory(p.pid(), "VmHWM"))
	if err := p.counts(ctx, corpus); err != nil {
		return err
	}
	// Its files are whole once it has stopped. The caches that it saves then are not data.
	for _, name := range []string{"victoria_metrics_bytes_per_sample", "victoria_metrics_bytes_per_sample_merged"} {
		if strings.HasSuffix(name, "_merged") {
			again, err := run(p.dir)
			if err != nil {
				return err
			}
			p = again
			if _, err := get(ctx, p.base+"/internal/force_merge", ""); err != nil {
				return err
			}
			if _, err := settleCPU(ctx, peerQuiet, p.pid()); err != nil {
				return err
			}
		}
		if err := p.stop(); err != nil {
			return err
		}
		samples, err := folderBytes(filepath.Join(p.dir, "data", "data"))
		if err != nil {
			return err
		}
		index, err := folderBytes(filepath.Join(p.dir, "data", "indexdb"))
		if err != nil {
			return err
		}
		b.set(name, float64(samples+index)/float64(corpus.count))
		fmt.Printf("    %s %.2f, of it the index %.2f\n", name, b.values[name], float64(index)/float64(corpus.count))
	}
	return nil
}

// counts asks the Prometheus API whether every sample is there.
func (p *peer) counts(ctx context.Context, corpus *metricCorpus) error {
	sum := 0
	asked := map[string]bool{}
	for _, one := range corpus.series {
		if asked[one.name] {
			continue
		}
		asked[one.name] = true
		query := url.Values{"query": {"sum(count_over_time(" + one.name + "[30d]))"}, "time": {strconv.FormatInt(time.Now().Unix()+1, 10)}}
		body, err := get(ctx, p.base+"/api/v1/query?"+query.Encode(), "")
		if err != nil {
			return err
		}
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data.Result) != 1 {
			return fmt.Errorf("count %s: %w: %s", one.name, err, body)
		}
		text, _ := answer.Data.Result[0].Value[1].(string)
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("count %s: %w", one.name, err)
		}
		sum += n
	}
	if sum != corpus.count {
		return fmt.Errorf("%d samples were sent, it counts %d", corpus.count, sum)
	}
	return nil
}
