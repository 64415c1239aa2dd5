// Load at a steady rate, from inside the cluster, by a client that behaves as clients should: it keeps connections open,
// obeys Connection: close and GOAWAY, and repeats a GET whose kept connection turned out to be closed. For as many -requests
// as it is told, or as long as the file -while exists; then it prints what came of it as JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

type outcome struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Reasons  map[string]int `json:"reasons"`
	// Who answered, by the name that `headgate echo` gives of itself.
	Servers map[string]int `json:"servers"`
}

func main() {
	url := flag.String("url", "", "what to ask for")
	host := flag.String("host", "", "the Host header")
	rate := flag.Int("rate", 300, "requests a second")
	total := flag.Int("requests", 0, "how many; 0 for no end")
	while := flag.String("while", "", "the file whose end is the end")
	http2 := flag.Bool("http2", false, "HTTP/2 without TLS, with prior knowledge")
	flag.Parse()

	// Several clients, as one HTTP/2 client would reach only one pod.
	clients := make([]*http.Client, 4)
	for i := range clients {
		transport := &http.Transport{MaxIdleConnsPerHost: 16, MaxConnsPerHost: 16, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!*http2)
		transport.Protocols.SetUnencryptedHTTP2(*http2)
		clients[i] = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	}

	result := outcome{Reasons: map[string]int{}, Servers: map[string]int{}}
	var lock sync.Mutex
	var running sync.WaitGroup
	ticks := time.NewTicker(time.Second / time.Duration(*rate))
	for sent := 0; (*total == 0 || sent < *total) && (*while == "" || exists(*while)); sent++ {
		<-ticks.C
		running.Go(func() {
			server, err := ask(clients[sent%len(clients)], *url, *host)
			lock.Lock()
			defer lock.Unlock()
			result.Requests++
			if err != nil {
				result.Failed++
				result.Reasons[err.Error()]++
				return
			}
			result.Servers[server]++
		})
	}
	running.Wait()
	json.NewEncoder(os.Stdout).Encode(result)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func ask(client *http.Client, url, host string) (string, error) {
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != 200 {
		return "", fmt.Errorf("%s: %s", response.Status, body)
	}
	var seen struct{ Server string }
	err = json.Unmarshal(body, &seen)
	return seen.Server, err
}
