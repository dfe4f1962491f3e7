// The official Node client against a running gateway; prints what it got as one line of JSON.
const OpenAI = require("openai");

async function main() {
  const client = new OpenAI({ maxRetries: 0 }); // OPENAI_BASE_URL, OPENAI_API_KEY
  const messages = [{ role: "user", content: "where is my order 我的订单" }];
  const got = {};
  got.models = (await client.models.list()).data.map((model) => model.id);
  got.chat = (await client.chat.completions.create({ model: "assistant", messages })).choices[0].message.content;
  got.streamed = "";
  const stream = await client.chat.completions.create({
    model: "assistant", messages, stream: true, stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    got.streamed += chunk.choices[0]?.delta?.content ?? "";
    if (chunk.usage) got.streamed_tokens = chunk.usage.completion_tokens;
  }
  const parameters = { type: "object", properties: { city: { type: "string" } } };
  const called = await client.chat.completions.create({
    model: "assistant",
    messages: [{ role: "user", content: "get_weather" }],
    tools: [{ type: "function", function: { name: "get_weather", parameters } }],
  });
  got.tool = called.choices[0].message.tool_calls[0].function.name;
  const vectors = await client.embeddings.create({ model: "encoder", input: ["a", "b"] });
  got.vectors = vectors.data.map((each) => each.embedding.length);
  got.completion = (await client.completions.create({ model: "assistant", prompt: "one two" })).choices[0].text;
  try {
    await client.chat.completions.create({ model: "nobody", messages });
  } catch (err) {
    got.error = [err.constructor.name, err.status, err.code, typeof err.requestID];
  }
  console.log(JSON.stringify(got));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
