package main

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// away is a connection to the API server that counts requests, and fails while it is told to.
type away struct {
	base     http.RoundTripper
	requests atomic.Int32
	fails    atomic.Bool
}

func (a *away) RoundTrip(request *http.Request) (*http.Response, error) {
	a.requests.Add(1)
	if a.fails.Load() {
		return nil, errors.New("away")
	}
	return a.base.RoundTrip(request)
}

// clock is a time that passes when a test says so.
type clock struct{ passed time.Duration }

func (c *clock) now() time.Time { return time.Unix(1e9, 0).Add(c.passed) }

func newSource(t *testing.T) (*Source, *clock, *away) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	server, clock := &away{}, &clock{}
	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		server.base = base
		return server
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	source := &Source{
		Client: client, Namespace: namespace, Account: account,
		Audiences: []string{audience}, Lifetime: 10 * time.Minute, Now: clock.now,
	}
	return source, clock, server
}

func token(t *testing.T, source *Source) string {
	t.Helper()
	token, err := source.Token()
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

func TestAllCallersShareOneTokenUntil80PercentOfItsLifetimeHavePassed(t *testing.T) {
	source, clock, server := newSource(t)
	first := token(t, source)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			if other, err := source.Token(); err != nil || other.AccessToken != first {
				t.Errorf("another token, or none: %v", err)
			}
		})
	}
	callers.Wait()
	clock.passed = 469 * time.Second
	if token(t, source) != first || server.requests.Load() != 1 {
		t.Errorf("renewed before its time: %d requests", server.requests.Load())
	}
	clock.passed = 480 * time.Second
	if second := token(t, source); second == first || server.requests.Load() != 2 {
		t.Errorf("not renewed in time: %d requests", server.requests.Load())
	}
}

func TestTheOldTokenServesWhileRenewingFailsAndUntilItExpires(t *testing.T) {
	source, clock, server := newSource(t)
	first := token(t, source)
	server.fails.Store(true)
	for clock.passed = 480 * time.Second; clock.passed < 600*time.Second; clock.passed += time.Second {
		if token(t, source) != first {
			t.Fatal("another token")
		}
	}
	if requests := server.requests.Load(); requests != 1+12 {
		t.Errorf("%d requests in two minutes, one in ten seconds is due", requests-1)
	}
	if _, err := source.Token(); err == nil || !strings.Contains(err.Error(), "token of shop/cart: ") {
		t.Errorf("after its expiry: %v", err)
	}
	server.fails.Store(false)
	clock.passed += 10 * time.Second
	if token(t, source) == first {
		t.Error("the old token after its expiry")
	}
}
